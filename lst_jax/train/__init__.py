"""The training loop, and the recorder of its metrics."""
