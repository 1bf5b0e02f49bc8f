"""HTTP API of a running session, and its OpenAPI document."""
