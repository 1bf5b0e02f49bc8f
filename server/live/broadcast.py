"""The newest picture of one session, for all who watch it beside the peer that paces it."""

import asyncio
from dataclasses import dataclass

from server.media.frames import Rgb


class BroadcastEnded(Exception):
    """The session has ended: there will be no more pictures."""


@dataclass(frozen=True, slots=True)
class BroadcastFrame:
    """One picture as it went out; nobody may write to it."""

    rgb: Rgb
    pts: int  # on the session's media clock, in 1/90000 s
    number: int  # counts from 1


class Broadcast:
    """Holds the newest picture alone. Who is slow misses some and delays nobody, neither peer nor viewers."""

    def __init__(self) -> None:
        self._newest: BroadcastFrame | None = None
        self._changed = asyncio.Event()  # another one after each change
        self.is_over = False

    def put(self, rgb: Rgb, pts: int) -> None:
        """This picture goes out now; `rgb` is not copied."""
        number = self._newest.number + 1 if self._newest else 1
        self._newest = BroadcastFrame(rgb, pts, number)
        self._wake()

    def end(self) -> None:
        """There will be none any more."""
        self.is_over = True
        self._wake()

    async def after(self, number: int) -> BroadcastFrame:
        """The newest picture that came after this one; 0: any. Raises BroadcastEnded."""
        while not self.is_over:
            if self._newest is not None and self._newest.number > number:
                return self._newest
            await self._changed.wait()
        raise BroadcastEnded("the session has ended")

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
