"""Look-ahead of a session: what of a chunk is done before its frames are all there.

The model sees the camera's frames before the chunk that they are for is taken.

There are two times for that. While the frames of a chunk come in, and nobody wants the device, it does for
them, in groups, what need not wait for the last one. And where the generator is slower than the camera, it
does so in the session's own turn, before the chunk is taken: the newest frames are chosen after that, and are
as much younger when they are shown. Others wait no longer for the first than for one group; the second begins
only where nobody waits, and is a part of the session's turn.

And it computes its window under a new prompt while frames come in and nobody wants the device: whoever asked
for it waits for that no more. Once for each chunk, as the chunk would do it: who changes a prompt again and
again takes no more of the device. Whoever comes meanwhile waits for as long as a recache takes.

Which frames a chunk will have is a guess, as good as the camera is even. A wrong one costs time and nothing
else: the chunk does by itself what was not done for its frames.
"""

import asyncio
from collections.abc import Sequence

from av import VideoFrame

from server.engine.client import EngineClient
from server.engine.thread import StreamHandle
from server.media.frames import to_rgb
from server.session.camera import CameraFeed
from streaming.api import SEEN_TOGETHER, WeightedPrompts

_SMOOTHING = 0.5  # weight of the newest measurement


class LookAhead:
    """Beside the generation loop, for its next chunk of `count` frames.

    while not await feed.ready(count):
        await look_ahead.while_they_come(handle, count)
    async with scheduler.take(...):
        await look_ahead.before_they_are_taken(handle, count)
        feed.take(count, now)
    """

    def __init__(self, engine: EngineClient, feed: CameraFeed) -> None:
        self._engine = engine
        self._feed = feed
        self._now = asyncio.get_running_loop().time
        self._seen: tuple[VideoFrame, ...] = ()  # what the model was last shown ahead
        self._frame_s = 0.0  # for one frame, of late
        self.recached: WeightedPrompts | None = None  # what the window was computed under, for the next chunk

    async def while_they_come(self, handle: StreamHandle, count: int) -> None:
        """One group, if its frames have come and the device is free. Not where the camera is the faster: what
        is done before a chunk's turn would make that now longer and now shorter, and forecasts wrong."""
        if self._feed.lag or not self._engine.scheduler.is_free:
            return
        if len(self._new(self._feed.expected(count))) < SEEN_TOGETHER:
            return
        await self._engine.idle()  # what the last chunk has left to do comes first
        if not self._engine.scheduler.is_free or self._feed.is_ready(count):
            return
        wanted = self._feed.expected(count)
        # It may be done with them later than when their chunk could be taken.
        wanted = self._feed.expected(count, self._now() + self._frame_s * len(self._new(wanted)))
        await self._look_at(handle, wanted)

    async def recache(self, handle: StreamHandle, prompts: WeightedPrompts | None) -> None:
        """The next chunk will be asked for these prompts, as far as is known now; None: for no other ones."""
        if prompts is None or self.recached is not None or not self._engine.scheduler.is_free:
            return
        if await self._engine.recache_ahead(handle, prompts):
            self.recached = prompts

    def taken(self) -> None:
        """The next chunk has been made, or has failed."""
        self.recached = None

    async def before_they_are_taken(self, handle: StreamHandle, count: int) -> None:
        """All but the last group, as far as there is time for it where the camera is the faster. The device
        is the session's."""
        lag, most = self._feed.lag, count - SEEN_TOGETHER
        if not lag or self._engine.scheduler.is_wanted:
            return
        if self._frame_s:
            most = min(most, int(lag / self._frame_s))
        wanted = self._feed.expected(count, self._now() + self._frame_s * most)[: count - SEEN_TOGETHER]
        too_many = self._new(wanted)[most:]
        await self._look_at(handle, [frame for frame in wanted if frame not in too_many])

    def _new(self, frames: Sequence[VideoFrame]) -> list[VideoFrame]:
        return [frame for frame in frames if frame not in self._seen]

    async def _look_at(self, handle: StreamHandle, frames: Sequence[VideoFrame]) -> None:
        if (count := len(self._new(frames))) < SEEN_TOGETHER:
            return
        took = await self._engine.look_ahead(handle, frames, to_rgb)
        if took is not None:
            self._seen = tuple(frames)
            took /= count
            self._frame_s += (took - self._frame_s) * (_SMOOTHING if self._frame_s else 1.0)
