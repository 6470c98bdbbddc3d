"""Several candidates a sentence: how they are kept apart, and how one is chosen."""
