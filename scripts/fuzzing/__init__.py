"""What scripts/fuzz.py feeds to the readers, and how it watches them."""
