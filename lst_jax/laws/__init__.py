"""Scaling laws of finished runs: `lst fit`. Reads points, knows nothing of models."""
