"""Ranks: several processes, each with a GPU of its own, that compute the passes of one stream together."""
