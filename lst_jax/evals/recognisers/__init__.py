"""What hears generated speech: a recogniser that has nothing to do with the model that is evaluated."""
