"""Optimizers: the contract (`optimizer`), its members, and which one a configuration names (`registry`)."""
