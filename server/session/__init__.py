"""One live session: from camera frames to paced pictures, and everything a person asks meanwhile."""
