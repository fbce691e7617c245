"""Synthesisers: text to speech with word times. `protocol` says what one is, `registry` knows them."""
