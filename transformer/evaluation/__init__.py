"""Scores with the signatures that make them comparable."""
