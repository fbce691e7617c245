"""Held-out evaluation: likelihoods, and completion choice in four directions."""
