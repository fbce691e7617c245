"""Evaluation tasks in which a model chooses between responses: our own file format, and public benchmarks."""
