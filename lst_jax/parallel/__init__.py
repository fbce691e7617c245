"""Several devices and processes: the mesh, shardings, agreement between processes."""
