"""Stages of one chunk, as the feature document calls them."""
