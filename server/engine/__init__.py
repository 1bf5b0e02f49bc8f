"""The model's side of the server: the thread that owns the device, and the event loop's way to it."""
