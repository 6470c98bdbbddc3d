"""Search and scoring, which see a model only through a step function."""
