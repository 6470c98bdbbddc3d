"""Where a token stands: each scheme in a file of its own."""
