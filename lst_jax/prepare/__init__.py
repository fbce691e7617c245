"""From recordings and texts to records: offline, on the host, without JAX."""
