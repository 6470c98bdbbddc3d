"""Translations that are drawn."""
