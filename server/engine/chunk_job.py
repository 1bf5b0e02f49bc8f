"""Job of one chunk, between the event loop, which asks for it, and the device thread, which makes it.

Neither waits for the other: what is asked lies in a slot that the loop may refill until the thread takes it.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from server.media.frames import Rgb
from streaming.api import ChunkParameters, ChunkResult

T = TypeVar("T")

Frame: TypeAlias = Hashable  # of a camera: one object is one picture
ToRgb: TypeAlias = Callable[[Sequence[Any]], list[Rgb]]  # each (H, W, 3) uint8, of its own size


class LatestWins(Generic[T]):
    """One value that its writer may replace until its reader has taken it."""

    def __init__(self, value: T) -> None:
        self._lock = threading.Lock()  # held for two assignments: nobody waits for it
        self._value = value
        self._is_taken = False

    def replace(self, value: T) -> bool:
        """Put `value` there; False, and nothing done, once the reader has taken what was there before."""
        with self._lock:
            if not self._is_taken:
                self._value = value
            return not self._is_taken

    def take(self) -> T:
        """The latest value, which nothing replaces from now on."""
        with self._lock:
            self._is_taken = True
            return self._value


class ChunkJob:
    """What one chunk is made of, and who is told what becomes of it.

    On the event loop, by the session:

        job = ChunkJob(frames, to_rgb, slot, on_taken=..., on_frames=...)
        result = await engine.step(stream, job)     # slot.replace(...) as long as that is True
        job.close()                                 # whatever still comes is told to nobody

    In the device thread: `job.to_rgb(...)` of the frames that the stream has not seen yet, then
    `job.slot.take()` once depth is there; then on the event loop, in this order, `job.taken()` and
    `job.add(piece)` for each piece.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        to_rgb: ToRgb,
        slot: LatestWins[ChunkParameters],
        *,
        on_taken: Callable[[], None],
        on_frames: Callable[[ChunkResult], None],
    ) -> None:
        """As many camera frames as wanted, oldest first. `to_rgb` is called in the device thread, with some
        of them; the others are called on the event loop."""
        self.frames = frames
        self.to_rgb = to_rgb
        self.slot = slot
        self._on_taken = on_taken
        self._on_frames = on_frames
        self._is_open = True

    def taken(self) -> None:
        """The device thread has taken what is asked."""
        if self._is_open:
            self._on_taken()

    def add(self, piece: ChunkResult) -> None:
        """Some pictures of the chunk are there."""
        if self._is_open:
            self._on_frames(piece)

    def close(self) -> None:
        """Its session wants nothing more of it."""
        self._is_open = False
