"""Who may come in, who is here, and who leaves: for every kind of connection."""
