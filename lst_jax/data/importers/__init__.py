"""Files of other programs, read as records and written from them (docs/formats_external.md)."""
