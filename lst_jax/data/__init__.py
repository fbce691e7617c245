"""From prepared records to batches of fixed shape; numpy on the host only."""
