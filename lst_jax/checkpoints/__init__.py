"""Saving and restoring state with Orbax; beginning from, and opening, other runs."""
