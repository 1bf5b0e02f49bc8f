"""Camera feed of a session: frames as they come, up to the chunk that the model is given."""

import asyncio

from av import VideoFrame

from server.logs import session_logger
from server.media.frames import is_usable
from server.session.camera_clock import CameraClock
from server.session.chunk_assembler import Chunk, ChunkAssembler

RING = 48  # decoded frames: what comes in while a slow chunk is generated
REACH_S = 1.6  # that they cover, at 30 frames a second; of a faster camera some are left out


class CameraFeed:
    """Takes frames as they come and gives chunks when they are wanted.

        feed.push(frame, now)
        await feed.ready(count)                 # again, until that is True
        chunk = feed.take(count, now)

    While it is frozen, one picture stands for all that come.
    """

    def __init__(self, session_id: str, max_fps: float, now: float) -> None:
        self.newest: VideoFrame | None = None
        self.seen_at = now  # when the last frame came
        self._log = session_logger(__name__, session_id)
        self._clock = CameraClock()
        self._came = asyncio.Event()
        self._held: VideoFrame | None = None  # stands for every frame while frozen
        self._is_frozen = False
        self._unusable = 0  # frames of a size that cannot be worked with, or never decoded
        self._max_fps = max_fps
        self._assembler = self._empty()

    @property
    def dropped(self) -> int:
        """Frames that never went and never will go into a chunk."""
        return self._assembler.dropped + self._unusable

    def push(self, frame: VideoFrame, now: float) -> bool:
        """The newest frame, of any size; converted later, and only if it is chosen. False: not usable."""
        if not is_usable(frame.width, frame.height):
            if not self._unusable:
                self._log.warning("drops camera frames of %dx%d: too large", frame.width, frame.height)
            self._unusable += 1
            return False
        time = self._clock.map(now if frame.pts is None else frame.time, now)
        if self._is_frozen:
            self._held = self._held or frame
            frame = self._held
        self._assembler.push(frame, time)
        self.newest, self.seen_at = frame, now
        self._came.set()
        return True

    def lost(self, count: int) -> None:
        """Another `count` frames have come that could not be decoded in time, or were not taken."""
        self._unusable += count

    def clear(self) -> None:
        """Let go of all frames; none will come."""
        self.newest = self._held = None
        self._assembler = self._empty()

    def _empty(self) -> ChunkAssembler[VideoFrame]:
        return ChunkAssembler(capacity=RING, max_fps=self._max_fps, reach=REACH_S)

    def freeze(self, on: bool) -> None:
        """Hold the newest picture, or let it go."""
        self._is_frozen = on
        self._held = self.newest if on else None

    def limit_fps(self, fps: float | None) -> None:
        """At most so many frames a second, and never more than the server's own limit; None: that alone."""
        self._assembler.limit_fps(self._max_fps if fps is None else min(fps, self._max_fps))
        self._came.set()

    def skip_to_latest(self) -> None:
        """After a pause: what was filmed meanwhile is not relived."""
        self._assembler.skip_to_latest()

    def is_ready(self, count: int) -> bool:
        """Whether a chunk of `count` frames can be taken now."""
        now = asyncio.get_running_loop().time()
        ready = self._assembler.ready_at(count, now)
        return ready is not None and ready <= now

    async def ready(self, count: int) -> bool:
        """Wait for a chunk of `count` frames (True: take it), or for anything that may have changed."""
        now = asyncio.get_running_loop().time()
        self._came.clear()
        ready = self._assembler.ready_at(count, now)
        if ready is not None and ready <= now:
            return True
        try:
            async with asyncio.timeout(None if ready is None else ready - now):
                await self._came.wait()
        except TimeoutError:
            pass
        return False

    def expected(self, count: int, until: float | None = None) -> tuple[VideoFrame, ...]:
        """Frames that the next chunk will most likely have, see `ChunkAssembler.expected`."""
        return self._assembler.expected(count, until)

    @property
    def lag(self) -> float:
        """Seconds by which the generator is slower than the camera, chunk by chunk."""
        return self._assembler.lag

    def take(self, count: int, now: float) -> Chunk[VideoFrame]:
        """The newest chunk. Raises server.session.chunk_assembler.ChunkNotReady."""
        return self._assembler.take(count, now)
