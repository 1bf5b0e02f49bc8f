"""Fuzzing of what strangers send: see scripts/fuzz/__main__.py."""
