"""The encoder-decoder of *Attention Is All You Need*, readable top to bottom; single-device code."""
