"""The networks: attention, layers, patches, and the two systems built from them."""
