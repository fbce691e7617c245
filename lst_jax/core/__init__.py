"""What every room uses: errors, files written whole, the vocabulary, shapes, signals, tables and pages. No JAX."""
