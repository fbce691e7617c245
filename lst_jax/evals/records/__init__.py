"""What `lst evaluate` keeps in RUN/evaluations: one dataclass for each kind of record, one reader for all of them."""
