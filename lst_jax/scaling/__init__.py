"""Costs and laws: FLOPs, peaks."""
