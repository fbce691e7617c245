"""Acoustic models in JAX: HuBERT and wav2vec2 as unit tokenizers and aligners; the one part of preparation with JAX."""
