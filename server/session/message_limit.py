"""Limit of what one client may send: messages and bytes a second. Pure; the caller tells the time."""

from typing import Literal

from server.protocol.codec import MAX_MESSAGES_PER_SECOND
from server.session.command_queue import RateLimit

MAX_BYTES_PER_SECOND = 256 * 1024  # eight of the largest messages
MOST_REFUSED = 200  # at once; who sends on after that is cut off
FORGIVEN_PER_SECOND = 10.0
TOLD_EVERY_S = 1.0

Verdict = Literal["taken", "refused", "ignored"]


class MessageLimit:
    """How fast one client may send. One for each data channel and each WebSocket.

        match limit.judge(len(raw), now):
            case "taken": handle it
            case "refused": answer that it is too much; at most once a second
            case "ignored": do nothing
        if limit.is_exceeded: close the connection with a reason

    Who sends a little more than is taken loses messages; who goes on as fast as it can is to be cut off.
    """

    def __init__(self, rate: float = MAX_MESSAGES_PER_SECOND) -> None:
        """`rate`: messages a second."""
        self.is_exceeded = False
        self._messages = RateLimit(rate)
        self._bytes = RateLimit(MAX_BYTES_PER_SECOND)
        self._refused = RateLimit(FORGIVEN_PER_SECOND, MOST_REFUSED)
        self._told_at: float | None = None

    def judge(self, size: int, now: float) -> Verdict:
        """What to do with a message of `size` bytes that came at `now`."""
        if not self.is_exceeded and self._messages.allows(now) and self._bytes.allows(now, size):
            return "taken"
        return self.refuse(now)

    def refuse(self, now: float) -> Literal["refused", "ignored"]:
        """Count one that came at `now` and is not taken, for whatever reason."""
        self.is_exceeded = self.is_exceeded or not self._refused.allows(now)
        if self._told_at is not None and now - self._told_at < TOLD_EVERY_S:
            return "ignored"
        self._told_at = now
        return "refused"
