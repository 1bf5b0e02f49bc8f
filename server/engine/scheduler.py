"""FIFO scheduler of the device: one chunk at a time, in the order asked; and how long each must wait."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from statistics import median

KEPT = 3  # chunks of a kind whose durations tell how long the next ones will be


class Client:
    """A session, as the scheduler knows it."""

    def __init__(self, on_eta: Callable[[float], None]) -> None:
        """`on_eta` is told in how many seconds the device will be this client's, as far as the last chunks
        tell: when it asks, whenever another client's chunk begins or will be longer than usual, and 0 when
        the device is its own."""
        self.on_eta = on_eta
        self.lasted: deque[float] = deque(maxlen=KEPT)  # its chunks, without what was said to be unusual


class Scheduler:
    """On the event loop.

    async with scheduler.take(client):
        scheduler.extend(seconds)     # if it will be so much longer than usual
        ...one chunk...
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = asyncio.Lock()
        self._waiting: list[Client] = []  # in the order they asked
        self._ends: float | None = None  # when the chunk of now is expected to end
        self._longer = 0.0  # of that, more than usual
        self._lasted: deque[float] = deque(maxlen=KEPT)  # of all

    @asynccontextmanager
    async def take(self, client: Client) -> AsyncGenerator[None]:
        """The device, for one chunk."""
        self._tell(client, len(self._waiting))
        self._waiting.append(client)
        try:
            await self._lock.acquire()
        finally:
            self._waiting.remove(client)
        began = self._now()
        try:
            self._longer = 0.0
            self._tell(client, 0)
            self._ends = began + self._usual(client)
            self._tell_all()
            yield
        finally:
            lasted = max(self._now() - began - self._longer, 0.0)
            for kept in (client.lasted, self._lasted):
                kept.append(lasted)
            self._ends = None
            self._lock.release()

    def extend(self, seconds: float) -> None:
        """The chunk of now will take so much longer than its client's usually do. All who wait are told."""
        if self._ends is not None:
            self._ends += seconds
            self._longer += seconds
            self._tell_all()

    def _usual(self, client: Client) -> float:
        lasted = client.lasted or self._lasted
        return median(lasted) if lasted else 0.0

    def _tell_all(self) -> None:
        for place, client in enumerate(self._waiting):
            self._tell(client, place)

    def _tell(self, client: Client, place: int) -> None:
        left = 0.0 if self._ends is None else max(self._ends - self._now(), 0.0)
        wait = left + sum(map(self._usual, self._waiting[:place]))
        # Not here: within another client's chunk, which a bug in this one's forecast would end.
        asyncio.get_running_loop().call_soon(client.on_eta, wait)
