"""Scheduler of the device: one chunk at a time, fair by measured time; and how long each must wait."""

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
        # Start-time fair queueing: seconds of the device that count as had, all others' idleness included.
        self.used = 0.0


class Scheduler:
    """On the event loop.

    async with scheduler.take(client):
        scheduler.extend(seconds)     # if it will be so much longer than usual
        ...one chunk...

    Who asked first is first, unless another who waits has had so much less of the device that a chunk of its
    own more would bring the two closer together: whoever asks for twice as long chunks gets half as many.
    Clients whose chunks take equally long alternate. Nobody saves up time for later by not asking.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._waiting: dict[asyncio.Future[None], Client] = {}  # in the order they asked
        self._is_taken = False
        self._used = 0.0  # at least so much have all had, by the same count, who ask from now on
        self._ends: float | None = None  # when the chunk of now is expected to end
        self._longer = 0.0  # of that, more than usual
        self._lasted: deque[float] = deque(maxlen=KEPT)  # of all

    @asynccontextmanager
    async def take(self, client: Client) -> AsyncGenerator[None]:
        """The device, for one chunk."""
        client.used = max(client.used, self._used)
        if not client.lasted:  # behind all who wait: or newcomers without end would keep them waiting
            client.used = max(client.used, *(other.used for other in self._waiting.values()), 0.0)
        await self._wait(client)
        began = self._now()
        try:
            self._longer = 0.0
            self._used = max(self._used, client.used)
            self._tell(client, 0.0)
            self._ends = began + self._usual(client)
            self._tell_all()
            yield
        finally:
            took = self._now() - began
            client.used += took
            for kept in (client.lasted, self._lasted):
                kept.append(max(took - self._longer, 0.0))
            self._ends = None
            if not self._waiting:  # nobody was kept from anything
                self._used = max(self._used, client.used)
            self._pass_on_soon()

    @property
    def is_free(self) -> bool:
        """Whether nobody has the device or waits for it."""
        return not self._is_taken and not self._waiting

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for the device."""
        return bool(self._waiting)

    def extend(self, seconds: float) -> None:
        """The chunk of now will take so much longer than its client's usually do. All who wait are told."""
        if self._ends is not None:
            self._ends += seconds
            self._longer += seconds
            self._tell_all()

    async def _wait(self, client: Client) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[admitted] = client
        self._tell(client, self._etas()[admitted])
        if not self._is_taken:
            self._pass_on()
        try:
            await admitted
        except asyncio.CancelledError:
            if self._waiting.pop(admitted, None) is None:  # it had just got it
                self._pass_on_soon()
            raise

    def _pass_on_soon(self) -> None:
        """Not at once: who has just had the device may be about to ask again, and then counts as waiting."""
        asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        # Who has been cancelled and has not run since takes itself off the list.
        order = [one for one in self._order() if not one.cancelled()]
        self._is_taken = bool(order)
        if order:
            del self._waiting[order[0]]
            order[0].set_result(None)

    def _order(self) -> list[asyncio.Future[None]]:
        """Who waits, in the order in which they get the device if nobody else asks."""
        left, order = dict(self._waiting), list[asyncio.Future[None]]()
        while left:
            order.append(self._next(left))
            del left[order[-1]]
        return order

    def _next(self, waiting: dict[asyncio.Future[None], Client]) -> asyncio.Future[None]:
        first = next(iter(waiting))
        enough = waiting[first].used
        # Half a chunk of lead is as near to equal as whole chunks come.
        behind = [one for one, client in waiting.items() if client.used + self._usual(client) / 2 < enough]
        return min(behind, key=lambda one: waiting[one].used, default=first)

    def _usual(self, client: Client) -> float:
        lasted = client.lasted or self._lasted
        return median(lasted) if lasted else 0.0

    def _etas(self) -> dict[asyncio.Future[None], float]:
        """Seconds until each who waits gets the device."""
        wait = 0.0 if self._ends is None else max(self._ends - self._now(), 0.0)
        etas: dict[asyncio.Future[None], float] = {}
        for one in self._order():
            etas[one] = wait
            wait += self._usual(self._waiting[one])
        return etas

    def _tell_all(self) -> None:
        for one, wait in self._etas().items():
            self._tell(self._waiting[one], wait)

    def _tell(self, client: Client, wait: float) -> None:
        # Not here: within another client's chunk, which a bug in this one's forecast would end.
        asyncio.get_running_loop().call_soon(client.on_eta, wait)
