"""Several devices and processes: the mesh, shardings, barriers and sums between processes."""
