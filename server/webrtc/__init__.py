"""WebRTC: one connection, its offers and its tracks."""
