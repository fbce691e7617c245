"""`lst sweep`: many runs of one recipe, here or on pods, and what they say together."""
