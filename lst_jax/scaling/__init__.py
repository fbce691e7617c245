"""Costs and laws: FLOPs, chips, what compiled programs do."""
