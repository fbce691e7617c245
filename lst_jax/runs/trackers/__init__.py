"""Services beside TensorBoard that get the records of a run. What fails there never ends it."""
