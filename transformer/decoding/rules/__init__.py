"""Rules about what may be written next."""
