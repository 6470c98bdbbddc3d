"""Trials: trainings of one recipe with changes, and the pages with the tables that compare them."""
