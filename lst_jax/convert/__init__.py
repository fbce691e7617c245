"""Weights to and from other codebases."""
