"""What travels: the messages of the control protocol and the bodies of HTTP, defined once."""
