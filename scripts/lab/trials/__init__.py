"""Trainings of one recipe with changes, for tables that compare them, and the pages that hold such tables."""
