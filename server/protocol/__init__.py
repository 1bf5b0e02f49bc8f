"""Messages between server and clients: what they are, and how text becomes one and back."""
