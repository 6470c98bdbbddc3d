"""The measurements of `scripts/lab/benchmark.py`, one module per kind of work."""
