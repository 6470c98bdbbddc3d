"""Translations drawn at random."""
