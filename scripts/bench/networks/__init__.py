"""Benchmark of bad networks: real server, real browser, and a link between them that loses and delays."""
