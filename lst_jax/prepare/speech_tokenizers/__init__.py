"""Speech tokenizers: audio to speech units. `protocol` says what one is, `registry` knows them."""
