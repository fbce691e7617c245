"""Synthesisers that give texts a voice, behind one protocol."""
