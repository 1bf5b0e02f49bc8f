"""Depth of camera frames: estimators, and what steadies one stream's estimates."""
