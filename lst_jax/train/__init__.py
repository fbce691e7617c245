"""Training: opening a run, the loop, and the recorder of its metrics."""
