"""How long one stream's next chunk will take to make, as far as the last ones tell."""

import math
from collections import deque
from statistics import median

KEPT = 3  # chunks of a kind that are remembered
RECACHE = 0.5  # of what others take: so much longer a chunk is under a new prompt, before the first of these
RECACHE_AT_MOST = 2.0  # likewise: what took longer than that is no measure


class ChunkDurations:
    """In seconds, from a chunk's turn to its first pictures."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._later: deque[float] = deque(maxlen=KEPT)
        self._recached: deque[float] = deque(maxlen=KEPT)

    def note(self, seconds: float, *, chunk: int, recaches: bool) -> None:
        """Chunk number `chunk` took so long."""
        if chunk == 0:
            self._first = seconds
        elif recaches:
            self._recached.append(seconds)
        else:
            self._later.append(seconds)

    def usual(self, frames: int, pace: float | None) -> float | None:
        """Of a chunk of so many frames; `pace` is what the device makes a second. None before any."""
        if self._later:
            return median(self._later)
        if self._first is None:
            return None
        # A stream's first chunk is shorter, and follows none.
        return max(self._first, frames / (pace or math.inf))

    def longer_by(self, usual: float) -> float:
        """So much longer than the usual one takes a chunk whose new prompt makes it recompute its window."""
        longer = median(self._recached) - usual if self._recached else RECACHE * usual
        return min(max(longer, 0.0), RECACHE_AT_MOST * usual)
