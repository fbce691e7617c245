"""Aligners: a recording and its words to times. `protocol` says what one is, `registry` knows them."""
