"""Forecast of a stream: when its next chunk will be there, so that what is queued lasts until then."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from statistics import median

from server.engine.client import EngineClient
from server.engine.scheduler import KEPT, Client
from server.media.pacing import Pacer
from server.session.picture import Picture
from streaming.api import FIRST_CHUNK

RECACHE = 0.5  # initial estimate of what a recache costs, as a share of the other chunks' duration
RECACHE_AT_MOST = 2.0  # likewise: what took longer than that is no measure


class ChunkForecast:
    """Tells the pacer of a stream when its next chunk will be there.

    async with engine.scheduler.take(forecast.client(frames)):   # tells as the device comes nearer
        forecast.recaches(began)                                 # if it will be late for a new prompt
        forecast.note(took, chunk=..., recaches=...)             # when its first pictures are there
    """

    def __init__(
        self, engine: EngineClient, pacer: Pacer[Picture], is_recache_ahead: Callable[[], bool]
    ) -> None:
        """`is_recache_ahead`: whether the next chunk will take longer for a new prompt."""
        self._engine = engine
        self._pacer = pacer
        self._is_recache_ahead = is_recache_ahead
        self._now = asyncio.get_running_loop().time
        self._durations = ChunkDurations()
        self._client = Client(self._on_eta)
        self._frames = FIRST_CHUNK

    def client(self, frames: int) -> Client:
        """Who asks the scheduler for the device, for a chunk of so many frames."""
        self._frames = frames
        return self._client

    def _on_eta(self, wait: float) -> None:
        """The device is free for the next chunk in so many seconds: the queue must last until it is made."""
        if (took := self._usual) is not None:
            longer = self._durations.recache_overhead(took) if self._is_recache_ahead() else 0.0
            now = self._now()
            self._pacer.expect(now + wait + took + longer, now)

    def recaches(self, began: float) -> None:
        """The chunk that is being made since `began` will be late, and so will those of others."""
        if (took := self._usual) is not None:
            longer = self._durations.recache_overhead(took)
            self._pacer.expect(began + took + longer, self._now())
            self._engine.scheduler.extend(longer)

    def note(self, seconds: float, *, chunk: int, recaches: bool) -> None:
        """Chunk number `chunk` took so long, from getting the device to its first pictures."""
        self._durations.note(seconds, chunk=chunk, recaches=recaches)

    @property
    def _usual(self) -> float | None:
        return self._durations.usual(self._frames, self._engine.pace)


class ChunkDurations:
    """One stream's, in seconds from getting the device to the first pictures."""

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

    def recache_overhead(self, usual: float) -> float:
        """How much longer than `usual` a chunk takes whose new prompt makes it recompute its window."""
        longer = median(self._recached) - usual if self._recached else RECACHE * usual
        return min(max(longer, 0.0), RECACHE_AT_MOST * usual)
