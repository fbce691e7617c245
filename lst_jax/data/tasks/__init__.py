"""Benchmarks of choices between responses: what is on disk, ours and others'."""
