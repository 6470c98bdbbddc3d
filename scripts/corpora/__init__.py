"""Fetching, splitting and publishing the parallel corpora that get_corpus.py offers."""
