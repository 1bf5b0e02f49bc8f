"""Idle limit of a session: when one that is given no camera pictures gives back its place. Pure."""

MOST_BETWEEN_S = 2.0  # who is not asked for longer holds no place meanwhile: its peer was lost


class IdleLimit:
    """Asked a few times a second while a peer holds the place, it says when that has been idle for too long.

    idle = IdleLimit(camera_s, paused_s)
    reason = idle.reason(now, seen_at=..., is_paused=...)  # not None: end it
    idle.connection_changed()                              # the peer has come back another way

    Only pictures that come begin the count anew: who pauses and resumes, or comes back, again and again
    without any gains nothing by it.
    """

    def __init__(self, camera_s: float, paused_s: float) -> None:
        """Seconds without a picture while it runs, and of a pause; 0: no limit."""
        self._camera_s, self._paused_s = camera_s, paused_s
        self._idle = self._paused = 0.0  # seconds so far
        self._seen_at: float | None = None
        self._asked_at: float | None = None
        self._has_seen = True  # a picture by this connection

    def connection_changed(self) -> None:
        """Another connection has time of its own, unless the one before has not used its."""
        if self._has_seen:
            self._idle = self._paused = 0.0
        self._has_seen = False

    def reason(self, now: float, *, seen_at: float, is_paused: bool) -> str | None:
        """Why the place is to be given back; None while it is not. `seen_at`: the last camera picture."""
        passed = 0.0 if self._asked_at is None else min(now - self._asked_at, MOST_BETWEEN_S)
        is_new = self._seen_at is not None and seen_at > self._seen_at
        self._asked_at, self._seen_at = now, seen_at
        if is_new:
            self._has_seen = True
            self._idle = 0.0
            self._paused = self._paused if is_paused else 0.0
        if is_paused:
            self._paused += passed
        elif not is_new:
            self._idle += passed
        if self._camera_s and self._idle > self._camera_s:
            return f"no picture from the camera for {self._camera_s:g} s"
        if self._paused_s and self._paused > self._paused_s:
            return f"paused for {self._paused_s:g} s"
        return None
