"""Rate counter of a receiver that holds the milliseconds in which something came, and no others.

aiortc's makes an object for each of a thousand milliseconds, with every video receiver and again after every
second of silence: half of what an offer costs, 2 ms for which the event loop serves nobody. To be reported:
`timeit.timeit(lambda: aiortc.rate.RateCounter(1000), number=1000)` shows it.
"""

from collections import deque
from typing import Any

import aiortc.rate

_module: Any = aiortc.rate


class RateCounter:
    """As aiortc's: units a second of the last `window_size` milliseconds, times `scale` / 1000."""

    def __init__(self, window_size: int, scale: int = 8000) -> None:
        self._scale = scale
        self._window_size = window_size
        self.reset()

    def add(self, value: int, now_ms: int) -> None:
        self._forget(now_ms)
        if self._began_ms is None:
            self._began_ms = now_ms
        if self._came and self._came[-1][0] == now_ms:  # no flood makes it hold more than the window has
            self._came[-1] = now_ms, self._came[-1][1] + value
        else:
            self._came.append((now_ms, value))
        self._total += value

    def rate(self, now_ms: int) -> int | None:
        """None of less than two milliseconds, and where nothing has come within the window."""
        self._forget(now_ms)
        if self._began_ms is None or not self._came:
            return None
        active_ms = now_ms - max(self._began_ms, now_ms - self._window_size + 1) + 1
        return round(self._scale * self._total / active_ms) if active_ms > 1 else None

    def reset(self) -> None:
        self._began_ms: int | None = None
        self._came: deque[tuple[int, int]] = deque()
        self._total = 0

    def _forget(self, now_ms: int) -> None:
        while self._came and self._came[0][0] <= now_ms - self._window_size:
            self._total -= self._came.popleft()[1]


def count_bytes_in_buckets_used() -> None:
    """For all receivers of this process, from now on. Safe to call again."""
    _module.RateCounter = RateCounter
