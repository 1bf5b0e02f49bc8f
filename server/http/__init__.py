"""HTTP on a running session, and who may use it."""
