"""Gate of a session's generation: closed during a pause, open otherwise."""

import asyncio

from server.media.pacing import Pacer
from server.metrics import StreamMeter
from server.session.camera import CameraFeed
from server.session.picture import Picture


class GenerationGate:
    """Says whether chunks are made, and sees to it that nothing from before a pause is shown after it."""

    def __init__(self, feed: CameraFeed, pacer: Pacer[Picture], meter: StreamMeter) -> None:
        self._feed = feed
        self._pacer = pacer
        self._meter = meter
        self._now = asyncio.get_running_loop().time
        self._open = asyncio.Event()
        self._open.set()
        self.opened_at = self._now()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def wait(self) -> None:
        """Until it is open."""
        await self._open.wait()

    def close(self) -> None:
        """Make no more chunks; what waits to be shown would be old when it goes on."""
        self._open.clear()
        self._meter.dropped_more("stale", self._pacer.clear())

    def open(self) -> None:
        """Go on with the newest pictures of the camera."""
        self.opened_at = self._now()
        self._feed.skip_to_latest()
        self._pacer.restart()
        self._open.set()
