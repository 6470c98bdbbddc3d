"""Trainings of one recipe with changes, for tables that compare them."""
