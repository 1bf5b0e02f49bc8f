"""Downloads of models' files: fetched, pinned, checked, kept."""
