"""Media and control over a WebSocket, for where UDP is blocked."""
