"""The inputs of scripts/lab/fuzz.py, the readers under test, and the processes that watch them."""
