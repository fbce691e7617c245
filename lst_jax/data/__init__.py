"""From prepared records to batches of fixed shape. This room runs on the host, in numpy, without JAX."""
