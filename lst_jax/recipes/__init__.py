"""From `configs/NAME.py` to a checked `Config`: loading, names of systems, defaults by size."""
