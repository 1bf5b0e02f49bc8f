"""WebRTC: who may connect, one connection, its tracks."""
