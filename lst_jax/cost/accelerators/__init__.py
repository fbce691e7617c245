"""The accelerators that the project knows: one table, read by `lst plan`, `lst launch` and the MFU of a run. No JAX."""
