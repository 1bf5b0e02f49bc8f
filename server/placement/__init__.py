"""Placement of sessions on workers: one place each, leased."""
