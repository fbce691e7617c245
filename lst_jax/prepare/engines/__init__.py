"""Engines: where preparation runs. `protocol` says what one is, `registry` knows them."""
