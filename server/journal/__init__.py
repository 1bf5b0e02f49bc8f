"""Journal of sessions: what another process needs to go on with each, kept in a third one."""
