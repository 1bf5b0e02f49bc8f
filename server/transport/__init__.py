"""Admission and registry of peers, for every kind of connection."""
