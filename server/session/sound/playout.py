"""Playout of a session's sound: a block every 20 ms, as late as the pictures, for all who listen.

Packets are taken and given on the event loop; decoding, delaying and coding are a thread's, one for each
session that has sound. Without sound there is neither thread nor task.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from server.session.sound.delay import DelayedSound
from server.session.sound.opus import BLOCK, LOOK_AHEAD, OpusEncoder, Samples
from server.session.sound.packets import HOLD_S, RATE_HZ, SoundPacket, SoundPackets
from server.session.sound.picture_age import PictureAge

logger = logging.getLogger(__name__)

BLOCK_S = BLOCK / RATE_HZ
LATE_LIMIT_S = 0.1  # beyond this the timeline moves instead of catching up


@dataclass(frozen=True, slots=True)
class SoundBlock:
    """20 ms of sound as they go out."""

    pts: int  # on the session's own clock of sound, in 1/48000 s
    time: float  # when they go out: seconds on the event loop's clock
    opus: bytes
    samples: Samples  # the same, (BLOCK, 2)


Listener = Callable[[SoundBlock], None]


class SoundPlayout:
    """sound.packet(timestamp, data) as they come; sound.shown(captured, now) with each picture;
    leave = sound.listen(take); sound.close().
    """

    def __init__(self, now: Callable[[], float], unheard: Callable[[int], None] | None = None) -> None:
        """`unheard` is told of packets that were never heard, how many."""
        self.packets = SoundPackets()
        self.age = PictureAge()
        self.has_come = False  # whether there has ever been sound
        self._now = now
        self._unheard = unheard
        self._told = 0  # of packets that were never heard
        self._listeners: list[Listener] = []
        self._came_at = 0.0
        self._pts = 0
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def packet(self, timestamp: int, data: bytes) -> None:
        """A packet of Opus has come: `timestamp` in 1/48000 s, of any origin, modulo 2 ** 32."""
        if self._is_over:
            return
        self._came_at = self._now()
        self.packets.put(timestamp, data, self._came_at)
        self.has_come = True
        if self._task is None:
            self._task = asyncio.create_task(self._play())
            self._task.add_done_callback(self._ended)

    def shown(self, captured: float, now: float) -> None:
        """A picture goes out, of what the camera took at `captured`; seconds."""
        self.age.shown(captured, now)

    def listen(self, take: Listener) -> Callable[[], None]:
        """`take` is given each block as it goes out, and must not wait; returns what ends that."""
        self._listeners.append(take)

        def leave() -> None:
            if take in self._listeners:
                self._listeners.remove(take)

        return leave

    def close(self) -> None:
        """End it. Safe to call twice."""
        self._is_over = True
        self._listeners.clear()
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None  # the next packet begins anew
        if not task.cancelled() and (error := task.exception()) is not None:
            self._is_over = True  # a bug of ours: the pictures go on without sound
            logger.error("The sound of this session failed", exc_info=error)

    async def _play(self) -> None:
        """Block after block, until no sound has come for as long as any is held."""
        line, due = _Line(), self._now()
        try:
            while self._now() - self._came_at <= HOLD_S:
                if (wait := due - self._now()) > 0:
                    await asyncio.sleep(wait)
                elif -wait > LATE_LIMIT_S:
                    self._pts, due = self._pts + round(-wait * RATE_HZ), due - wait
                await self._block(line, due)
                if self._unheard is not None and self.packets.dropped > self._told:
                    self._unheard(self.packets.dropped - self._told)
                    self._told = self.packets.dropped
                due, self._pts = due + BLOCK_S, self._pts + BLOCK
        finally:
            line.close()

    async def _block(self, line: "_Line", due: float) -> None:
        if not self._listeners:
            line.is_fresh = False
            return
        age = self.age.seconds(due)
        target = None if age is None else self.packets.position(due - age) + LOOK_AHEAD
        packets = [] if target is None else self.packets.take(line.needs(target))
        opus, samples, rejected = await line.render(target, packets)
        self.packets.dropped += rejected
        block = SoundBlock(self._pts, due, opus, samples)
        for take in list(self._listeners):
            take(block)


class _Line:
    """What turns packets into blocks, in a thread of its own."""

    def __init__(self) -> None:
        self.is_fresh = True  # False: blocks have been left out
        self._delayed = DelayedSound()
        self._encoder = OpusEncoder()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sound")

    def needs(self, target: int) -> int:
        if not self.is_fresh:
            self._delayed, self.is_fresh = DelayedSound(), True
        return self._delayed.needs(target)

    async def render(self, target: int | None, packets: list[SoundPacket]) -> tuple[bytes, Samples, int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._rendered, target, packets)

    def _rendered(self, target: int | None, packets: list[SoundPacket]) -> tuple[bytes, Samples, int]:
        before = self._delayed.rejected
        samples = self._delayed.render(target, packets)
        return self._encoder.encode(samples), samples, self._delayed.rejected - before

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
