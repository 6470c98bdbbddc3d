"""From raw parallel text to batches of token ids."""
