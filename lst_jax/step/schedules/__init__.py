"""Learning-rate schedules: the contract (`schedule`), its members, and which one a configuration names (`registry`)."""
