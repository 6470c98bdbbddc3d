"""What `scripts/lab/benchmark.py` measures, one module a kind of work."""
