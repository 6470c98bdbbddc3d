"""What a model attends to: attention maps, statistics of heads, word alignment."""
