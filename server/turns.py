"""Whose chunk the model makes: one at a time, in the order they ask; and how soon one's turn will come."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from statistics import median

KEPT = 3  # turns whose durations tell how long the next ones will be


class Turns:
    """On the event loop.

    async with turns.take(foresee):
        turns.ends_in(seconds)     # if it will be longer than usual
        ...one chunk...
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = asyncio.Lock()
        self._waiting: list[Callable[[float], None]] = []  # in the order they asked
        self._ends: float | None = None  # when the turn of now is expected to end
        self._lasted: deque[float] = deque(maxlen=KEPT)

    @property
    def is_free(self) -> bool:
        """Whether nobody has a turn or waits for one."""
        return not self._waiting and not self._lock.locked()

    @asynccontextmanager
    async def take(self, foresee: Callable[[float], None]) -> AsyncGenerator[None]:
        """One's turn. `foresee` is told in how many seconds it will come, as far as the last ones tell: when
        it is asked for, whenever another one begins or will be longer than usual, and 0 when it is there."""
        foresee(self._wait(len(self._waiting)))
        self._waiting.append(foresee)
        try:
            await self._lock.acquire()
        finally:
            self._waiting.remove(foresee)
        began = self._now()
        self.ends_in(self._usual)
        try:
            foresee(0.0)
            yield
        finally:
            self._lasted.append(self._now() - began)
            self._ends = None
            self._lock.release()

    def ends_in(self, seconds: float) -> None:
        """Said by whose turn it is; all who wait are told."""
        self._ends = self._now() + seconds
        for place, foresee in enumerate(self._waiting):
            foresee(self._wait(place))

    @property
    def _usual(self) -> float:
        return median(self._lasted) if self._lasted else 0.0

    def _wait(self, place: int) -> float:
        left = 0.0 if self._ends is None else max(self._ends - self._now(), 0.0)
        return left + place * self._usual
