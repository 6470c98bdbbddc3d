"""Search and scoring: all of it sees a model only through a step function."""
