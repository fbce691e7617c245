"""What a place is, of this machine or of a bucket, and whole objects there. No JAX."""
