"""Runs on disk: safetensors and JSON, written atomically and checked when read."""
