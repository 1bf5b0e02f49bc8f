"""Whose chunk the model makes: one at a time, in the order they ask; and how soon one's turn will come."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from statistics import median

KEPT = 3  # turns whose durations tell how long the next ones will be


class Seat:
    """A session's place in the line, whenever it asks for one."""

    def __init__(self, foresee: Callable[[float], None]) -> None:
        """`foresee` is told in how many seconds one's turn will come, as far as the last ones tell: when it
        is asked for, whenever another one begins or will be longer than usual, and 0 when it is there."""
        self.foresee = foresee
        self.lasted: deque[float] = deque(maxlen=KEPT)  # its turns, without what was said to be unusual


class Turns:
    """On the event loop.

    async with turns.take(seat):
        turns.extend(seconds)     # if it will be so much longer than usual
        ...one chunk...
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = asyncio.Lock()
        self._waiting: list[Seat] = []  # in the order they asked
        self._ends: float | None = None  # when the turn of now is expected to end
        self._longer = 0.0  # of that, more than usual
        self._lasted: deque[float] = deque(maxlen=KEPT)  # of all

    @asynccontextmanager
    async def take(self, seat: Seat) -> AsyncGenerator[None]:
        """One's turn."""
        self._tell(seat, len(self._waiting))
        self._waiting.append(seat)
        try:
            await self._lock.acquire()
        finally:
            self._waiting.remove(seat)
        began = self._now()
        try:
            self._longer = 0.0
            self._tell(seat, 0)
            self._ends = began + self._usual(seat)
            self._tell_all()
            yield
        finally:
            lasted = max(self._now() - began - self._longer, 0.0)
            for kept in (seat.lasted, self._lasted):
                kept.append(lasted)
            self._ends = None
            self._lock.release()

    def extend(self, seconds: float) -> None:
        """The turn of now will be so much longer than its session's usually are. All who wait are told."""
        if self._ends is not None:
            self._ends += seconds
            self._longer += seconds
            self._tell_all()

    def _usual(self, seat: Seat) -> float:
        lasted = seat.lasted or self._lasted
        return median(lasted) if lasted else 0.0

    def _tell_all(self) -> None:
        for place, seat in enumerate(self._waiting):
            self._tell(seat, place)

    def _tell(self, seat: Seat, place: int) -> None:
        left = 0.0 if self._ends is None else max(self._ends - self._now(), 0.0)
        wait = left + sum(map(self._usual, self._waiting[:place]))
        # Not here: within another session's turn, which a bug in this one's forecast would end.
        asyncio.get_running_loop().call_soon(seat.foresee, wait)
