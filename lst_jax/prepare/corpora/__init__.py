"""Corpora as they are published: what their files are, and the items in them."""
