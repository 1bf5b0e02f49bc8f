"""Receiver of the camera on one WebSocket: coded pictures within credit, decoded in order."""

import asyncio
from collections import deque
from collections.abc import Callable

from av import VideoFrame

from server.media.coded_size import is_vp8_key
from server.media.images import ImageRejected
from server.media.jpeg import decode_jpeg
from server.media.vp8 import Vp8Decoder
from server.session.command_queue import RateLimit
from server.websocket.flow_control import Window
from server.websocket.media_frame import Kind, MediaFrame

UPLOAD_WINDOW = 3  # camera pictures on their way at once: more is smoother where the way is long, and later
FASTEST = 2.0  # times max_fps, so many camera pictures a second are decoded at most,
USUAL_FPS = 60.0  # or so many, if that is more
COMPLAINTS_PER_S = 1.0


class Upload:
    """Nothing waits that a newer picture makes needless, as one does that stands alone.

    Afterwards, and at first, look at `credit` and `codec_request`: what the client is to be told.
    """

    def __init__(
        self,
        keep: Callable[[VideoFrame], None],
        dropped: Callable[[], None],
        rejected: Callable[[str], None],
        changed: Callable[[], None],
        max_fps: float,
    ) -> None:
        """Calls back for each picture, for each that was needless, and with words for one that is no picture.

        `changed`: the client is to be told something. `max_fps`: pictures a second that are of use.
        """
        self._least_s = 1 / max(FASTEST * max_fps, USUAL_FPS)  # between two that are decoded
        self._keep, self._dropped, self._rejected, self._changed = keep, dropped, rejected, changed
        self._now = asyncio.get_running_loop().time
        self._window = Window(UPLOAD_WINDOW)
        self._waiting: deque[MediaFrame] = deque()  # no more than the window has
        self._came = asyncio.Event()
        self._decoder = Vp8Decoder()
        self._complaints = RateLimit(COMPLAINTS_PER_S)
        self.codec_request: Kind | None = Kind.VP8  # None: nothing new
        self._is_key_due = True  # the client was told to begin with one

    @property
    def credit(self) -> int:
        """How many pictures the client may have sent in all."""
        return self._window.total

    def take(self, frame: MediaFrame) -> None:
        """A JPEG or VP8 picture has come. Raises CreditError."""
        self._window.receive(frame.sequence)
        if frame.kind is Kind.JPEG or is_vp8_key(frame.payload):
            for _ in self._waiting:
                self._window.done()
                self._dropped()
            self._waiting.clear()
        self._waiting.append(frame)
        self._came.set()

    async def run(self) -> None:
        """Decode, for ever."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                next_at = self._now() + self._least_s
                await self._decode(self._waiting.popleft())
                await asyncio.sleep(next_at - self._now())
                self._window.done()
                self._changed()

    async def _decode(self, frame: MediaFrame) -> None:
        if frame.kind is Kind.JPEG:
            self._decoder.needs_key = True  # pictures that others build on may have been passed over
        elif self._decoder.needs_key and not is_vp8_key(frame.payload):
            return self._demand_key()
        decode = decode_jpeg if frame.kind is Kind.JPEG else self._decoder.decode
        try:
            picture = await asyncio.to_thread(decode, frame.payload, frame.timestamp_us)
        except ImageRejected as error:
            if frame.kind is Kind.VP8:
                self._is_key_due = self._is_key_due and not is_vp8_key(frame.payload)  # that was it
                self._demand_key()
            if self._complaints.allows(self._now()):
                self._rejected(f"camera frame {frame.sequence}: {error}")
        else:
            self._is_key_due = self._is_key_due and self._decoder.needs_key
            self._keep(picture)

    def _demand_key(self) -> None:
        """Once: no message is lost on its way."""
        if not self._is_key_due:
            self._is_key_due = True
            self.codec_request = Kind.VP8
