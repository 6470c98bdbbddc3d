"""Terms that a translation must contain (required) or should contain (preferred)."""
