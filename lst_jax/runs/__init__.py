"""What a run directory holds: configuration, metrics, ledger. No JAX."""
