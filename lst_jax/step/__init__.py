"""One optimizer update and one evaluation of likelihoods, as pure functions."""
