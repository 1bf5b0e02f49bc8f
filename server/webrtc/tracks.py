"""Media tracks: a pump that empties incoming ones, and those that are sent to peers and viewers."""

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import Packet, VideoFrame

from server.media.frames import to_video_frame
from server.session.broadcast import Broadcast, BroadcastEnded, Subscription
from server.session.sound.packets import RATE_HZ
from server.session.sound.playout import SoundBlock, SoundPlayout

WAITING_BLOCKS = 10  # of sound, 0.2 s: a line that takes no more gets the newest
SOUND_TIME_BASE = Fraction(1, RATE_HZ)


async def drain(track: MediaStreamTrack, keep: Callable[[VideoFrame], None]) -> None:
    """Read a track until it ends, handing each video frame to `keep`."""
    while True:
        try:
            # av.Packet is generic, and aiortc does not say of what.
            frame = await track.recv()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        except MediaStreamError:
            return
        if isinstance(frame, VideoFrame):
            keep(frame)


class OutputTrack(MediaStreamTrack):
    """The newest picture of a broadcast, with its timestamp. What the encoder is late for is left out.

    It subscribes with the first `recv`, so that a track that is never sent costs nothing.
    """

    kind = "video"

    def __init__(self, broadcast: Broadcast, before_encoding: Callable[[], None] | None = None) -> None:
        """`before_encoding` is called for each frame just before it is given out."""
        super().__init__()
        self._broadcast = broadcast
        self._before_encoding = before_encoding
        self._subscription: Subscription | None = None

    async def recv(self) -> VideoFrame:
        """The next picture as soon as it goes out.

        Raises MediaStreamError once the session has ended or the track has been stopped.
        """
        if self.readyState != "live":
            raise MediaStreamError("the output track has been stopped")
        if self._subscription is None:
            self._subscription = self._broadcast.subscribe()
        try:
            frame = await self._subscription.next()
        except BroadcastEnded as end:
            self.stop()
            raise MediaStreamError(str(end)) from end
        if self._before_encoding is not None:
            self._before_encoding()
        return to_video_frame(frame.rgb, frame.pts)  # a copy, of as many bytes as the picture has

    def stop(self) -> None:
        """Give out no more; whoever waits in `recv` is told so."""
        super().stop()
        if self._subscription is not None:
            self._subscription.close()


class SoundTrack(MediaStreamTrack):
    """The sound of a session, coded: each block as it goes out.

    It listens from the first `recv` on, so that a track that is never sent costs nothing.
    """

    kind = "audio"

    def __init__(self, sound: SoundPlayout) -> None:
        super().__init__()
        self._sound = sound
        self._leave: Callable[[], None] | None = None
        self._blocks: deque[SoundBlock] = deque(maxlen=WAITING_BLOCKS)
        self._came = asyncio.Event()

    async def recv(self) -> "Packet[Any]":  # pyright: ignore[reportIncompatibleMethodOverride] -- as it may
        """The next block as Opus. Raises MediaStreamError once the track has been stopped."""
        if self._leave is None and self.readyState == "live":
            self._leave = self._sound.listen(self._take)
        while not self._blocks and self.readyState == "live":
            self._came.clear()
            await self._came.wait()
        if self.readyState != "live":
            raise MediaStreamError("the sound track has been stopped")
        block = self._blocks.popleft()
        packet = Packet(block.opus)
        packet.pts, packet.time_base = block.pts, SOUND_TIME_BASE
        return packet

    def stop(self) -> None:
        """Give out no more; whoever waits in `recv` is told so."""
        super().stop()
        if self._leave is not None:
            self._leave()
        self._came.set()

    def _take(self, block: SoundBlock) -> None:
        self._blocks.append(block)
        self._came.set()
