"""The faults that `scripts/lab/torture.py` injects into a training."""
