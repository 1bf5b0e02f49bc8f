"""Flow control of pictures on a connection that keeps all that is written to it. Pure.

The receiver says how many pictures it may be sent in all, and raises that by one for each that is done with.
The sender keeps the newest picture alone until it may send it, and counts those that it dropped for it.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

MOST_AHEAD = 16  # pictures on their way at once that a sender can be allowed


class CreditError(ValueError):
    """The other side does not keep to the rules; the text says which."""


class Allowance:
    """The sender's side: how many it may send, and has sent."""

    def __init__(self) -> None:
        self._allowed = 0
        self.sent = 0

    @property
    def may_send(self) -> bool:
        return self.sent < self._allowed

    def raise_to(self, total: int) -> None:
        """Raises CreditError unless it is more than before and no more than MOST_AHEAD ahead."""
        if not self._allowed < total <= self.sent + MOST_AHEAD:
            raise CreditError(
                f"credit: got {total}, expected {self._allowed + 1} to {self.sent + MOST_AHEAD}"
            )
        self._allowed = total

    def spend(self) -> int:
        """One is sent now; returns its sequence number."""
        self.sent += 1
        return self.sent - 1


class Window:
    """The receiver's side: `size` pictures may be on their way at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._received = 0
        self._done = 0

    @property
    def total(self) -> int:
        """How many the sender may have sent in all."""
        return self._done + self._size

    def receive(self, sequence: int) -> None:
        """A picture has come. Raises CreditError if it is not the next one, or more than allowed."""
        if sequence != self._received:
            raise CreditError(f"sequence: got {sequence}, expected {self._received}")
        if sequence >= self.total:
            raise CreditError(f"sequence: got {sequence}, but credit was given for {self.total} in all")
        self._received += 1

    def done(self) -> None:
        """One of those received is done with, or was dropped."""
        self._done += 1


class Newest(Generic[T]):
    """Holds one item at most: a newer one takes its place, which is counted."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._skipped = 0

    def __bool__(self) -> bool:
        return self._item is not None

    def put(self, item: T) -> bool:
        """True: another one was dropped for it."""
        is_drop = self._item is not None
        self._skipped += is_drop
        self._item = item
        return is_drop

    def take(self) -> tuple[T, int]:
        """The item, and how many were dropped since the last take. Raises LookupError if there is none."""
        if self._item is None:
            raise LookupError("there is nothing to take")
        item, skipped = self._item, self._skipped
        self._item, self._skipped = None, 0
        return item, skipped
