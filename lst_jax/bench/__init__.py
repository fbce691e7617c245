"""Measurements of this machine and this code, written into docs/results.md by the commands that make them."""
