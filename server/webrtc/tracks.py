"""Media in, media out: a pump that empties incoming tracks, and the track that a peer watches."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from server.live.broadcast import Broadcast
from server.live.pacing import MediaClock, Pacer
from server.media.frames import Picture, Rgb, Size, to_video_frame, with_note

PASSTHROUGH_SPACING_S = 1 / 15
HOLD_SPACING_S = 0.5  # of a picture that stays: who begins to watch, or has lost it, sees it soon
POLL_S = 0.1  # how soon a track with nothing to play looks at its source again


async def drain(track: MediaStreamTrack, keep: Callable[[VideoFrame], None] | None = None) -> None:
    """Read a track until it ends, handing each video frame to `keep`.

    Every accepted track needs this: aiortc queues what nobody reads without limit.
    """
    while True:
        try:
            # av.Packet is generic, and aiortc does not say of what.
            frame = await track.recv()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        except MediaStreamError:
            return
        if keep is not None and isinstance(frame, VideoFrame):
            keep(frame)


class Scene(Protocol):
    """What an OutputTrack shows. LiveSession is one."""

    media_clock: MediaClock
    pacer: Pacer[Picture]
    changed: asyncio.Event  # set whenever one of these has changed
    broadcast: Broadcast  # gets every picture that goes out

    @property
    def picture(self) -> Picture | None:
        """The generated picture on show, by whichever track it went out."""
        ...

    @property
    def note(self) -> str | None:
        """Words to show over the camera while there is nothing generated; None: play the pacer."""
        ...

    @property
    def camera(self) -> VideoFrame | None:
        """The newest camera frame."""
        ...

    @property
    def size(self) -> Size:
        """Width and height of the output."""
        ...

    @property
    def is_paused(self) -> bool:
        """Whether the picture on show is to stay."""
        ...

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        """A generated picture goes to the encoder; `pts` in 1/90000 s."""
        ...


class OutputTrack(MediaStreamTrack):
    """Generated pictures, paced; without any, the camera and a note: never frozen or black without a word."""

    kind = "video"

    def __init__(
        self, scene: Scene, now: Callable[[], float], before_encoding: Callable[[], None] | None = None
    ) -> None:
        """`before_encoding` is called for each frame just before it is given out."""
        super().__init__()
        self._before_encoding = before_encoding
        self._scene = scene
        self._now = now
        self._passed: tuple[VideoFrame | None, Size, str] | None = None
        self._passed_rgb: Rgb | None = None
        self._is_fresh = True  # nothing has gone out by it

    async def recv(self) -> VideoFrame:
        """The next frame, when it is due. Raises MediaStreamError once the track has been stopped."""
        while self.readyState == "live":
            note = self._scene.note
            frame = await (self._generated() if note is None else self._passthrough(note))
            if frame is not None:
                if self._before_encoding is not None:
                    self._before_encoding()
                return frame
        raise MediaStreamError("the output track has been stopped")

    async def _generated(self) -> VideoFrame | None:
        """The next picture of the pacer; None if there is none yet, or something may have changed."""
        pacer = self._scene.pacer
        due = pacer.due()
        if due is None:
            await self._wait_for_change(POLL_S)
            # Who has come back sees what was on show: a page takes silence for a network that is blocked.
            return self._held() if self._scene.is_paused or self._is_fresh else None
        if (wait := due - self._now()) > 0:
            await self._wait_for_change(min(wait, POLL_S))  # by then it may be due at another time
            return None
        picture, pts = pacer.pop(self._now())
        self._scene.shown(picture, pts, self._now())
        return self._publish(picture.rgb, pts)

    def _held(self) -> VideoFrame | None:
        """The picture on show once more, if it is time."""
        picture, clock, now = self._scene.picture, self._scene.media_clock, self._now()
        due = clock.due(HOLD_SPACING_S)
        if picture is None or due is None or due > now:
            return None
        return self._publish(picture.rgb, clock.tick(HOLD_SPACING_S, now))

    async def _passthrough(self, note: str) -> VideoFrame:
        scene = self._scene
        due = scene.media_clock.due(PASSTHROUGH_SPACING_S)
        if due is not None and due > self._now():
            await asyncio.sleep(due - self._now())
        shown = (scene.camera, scene.size, note)
        if self._passed_rgb is None or shown != self._passed:
            self._passed_rgb = await asyncio.to_thread(with_note, *shown)
            self._passed = shown
        return self._publish(self._passed_rgb, scene.media_clock.tick(PASSTHROUGH_SPACING_S, self._now()))

    def _publish(self, rgb: Rgb, pts: int) -> VideoFrame:
        """A frame of this picture, which others who watch the scene see too."""
        self._is_fresh = False
        self._scene.broadcast.put(rgb, pts)
        return to_video_frame(rgb, pts)

    async def _wait_for_change(self, at_most: float) -> None:
        self._scene.changed.clear()
        try:
            async with asyncio.timeout(at_most):
                await self._scene.changed.wait()
        except TimeoutError:
            pass
