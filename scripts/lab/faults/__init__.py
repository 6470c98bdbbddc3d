"""What `scripts/lab/torture.py` does to a training, one module a kind of harm."""
