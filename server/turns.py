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
        ...one chunk...
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = asyncio.Lock()
        self._line = 0  # how many have asked and are not done, whose turn it is included
        self._began: float | None = None  # when the turn of now did
        self._lasted: deque[float] = deque(maxlen=KEPT)

    @property
    def line(self) -> int:
        """How many wait for a turn or have it."""
        return self._line

    @asynccontextmanager
    async def take(self, foresee: Callable[[float], None]) -> AsyncGenerator[None]:
        """One's turn. `foresee` is told in how many seconds it will come, as far as the last ones tell: when
        it is asked for, and 0 when it is there."""
        foresee(self._wait())
        self._line += 1
        try:
            async with self._lock:
                began = self._began = self._now()
                foresee(0.0)
                try:
                    yield
                finally:
                    self._lasted.append(self._now() - began)
                    self._began = None
        finally:
            self._line -= 1

    def _wait(self) -> float:
        if not self._line or not self._lasted:
            return 0.0
        usual, gone = median(self._lasted), 0.0 if self._began is None else self._now() - self._began
        return max(usual - gone, 0.0) + (self._line - 1) * usual
