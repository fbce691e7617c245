"""lst_jax: pre-training of Latent Speech-Text Transformers (arXiv 2510.06195) in JAX."""

__version__ = "0.1.0"
