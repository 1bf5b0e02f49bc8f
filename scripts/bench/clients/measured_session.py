"""Session as every client measures it: pictures are noted, prompts switched, figures asked for."""

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.bench.clients.control import Control
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.figures.latency import Arrival
from scripts.bench.figures.run_record import RunRecord


class BenchSession:
    """One session as the benchmark sees it, whatever carries it.

    Give it every picture that comes back (`note`) and every text (`control.receive`). With `echo`, the server
    is the one of servers/echo.py: it knows no messages, and every picture counts.
    """

    def __init__(self, camera: NumberedCamera, send: Callable[[str], None], *, echo: bool = False) -> None:
        self.recording = RunRecord()
        self.control = Control(self.recording, send)
        self._camera = camera
        self._is_echo = echo
        self._first_counted = asyncio.Event()

    def note(self, luma: NDArray[np.uint8], now: float) -> None:
        """A picture, (H, W), was in hand at `now`."""
        if self._is_echo:  # the camera's own picture is what is wanted: nothing to compare
            arrival = Arrival(time=now, sent=self._camera.sent(luma), difference=None, is_live=True)
        else:
            sent, difference = self._camera.match(luma) or (None, None)
            arrival = Arrival(time=now, sent=sent, difference=difference, is_live=self.control.is_live)
        self.recording.arrivals.append(arrival)
        if arrival.is_generated:
            self._first_counted.set()

    def offer(self) -> None:
        """It begins: what comes first is timed from now."""
        self.recording.offered = time.monotonic()

    async def measure(self, seconds: float, prompts: Sequence[str], patience: float, switches: int) -> None:
        """Measure for `seconds` after the first generated picture, switching prompts at even intervals.

        With `switches` the run goes on until as many more, at random moments, have been shown. Raises
        TimeoutError when no generated picture comes within `patience` seconds.
        """
        heartbeat = None if self._is_echo else asyncio.create_task(self.control.heartbeat())
        try:
            async with asyncio.timeout(patience):
                await self._first_counted.wait()
            if self._is_echo:
                await asyncio.sleep(seconds)
                return
            await self.control.switch_evenly(seconds, prompts)
            await self.control.switch_often(switches)
            await self.control.ask_stats()
        finally:
            if heartbeat is not None:
                heartbeat.cancel()
