"""Media tracks: a pump that empties incoming ones, and the one that is sent to peers and viewers."""

from collections.abc import Callable

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from server.media.frames import to_video_frame
from server.session.broadcast import Broadcast, BroadcastEnded, Subscription


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
