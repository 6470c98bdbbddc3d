"""The candidate translations of a sentence: how they are found, kept apart, and ranked again."""
