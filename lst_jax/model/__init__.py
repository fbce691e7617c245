"""The networks: attention, layers, patches, and the architectures built from them (`architectures`)."""
