"""Terms that translations must or should contain."""
