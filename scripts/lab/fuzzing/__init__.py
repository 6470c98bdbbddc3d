"""What scripts/lab/fuzz.py feeds to the readers, and how it watches them."""
