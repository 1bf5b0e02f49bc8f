"""Sender of generated pictures on one WebSocket: the newest alone waits, coded once it may be sent."""

import asyncio
import logging

from av import VideoFrame
from av.error import FFmpegError

from server.media.bitrate import vp8_bitrate
from server.media.frames import to_video_frame
from server.media.jpeg import encode_jpeg, microseconds
from server.media.vp8 import Vp8Encoder
from server.protocol.requests import Quality
from server.session.broadcast import BroadcastFrame
from server.websocket.flow_control import Allowance, Newest
from server.websocket.media_frame import MAX_PAYLOAD_BYTES, MOST_SKIPPED, Kind, MediaFrame

logger = logging.getLogger(__name__)


class Download:
    """A picture is dropped before it is coded or not at all: with VP8 the next one builds on it."""

    def __init__(self) -> None:
        self._picture: Newest[BroadcastFrame] = Newest()
        self._allowance = Allowance()
        self._encoder: Vp8Encoder | None = None  # None: JPEGs
        self._is_key_due = True

    @property
    def may_send(self) -> bool:
        """Whether there is something for `next`."""
        return bool(self._picture) and self._allowance.may_send

    def put(self, picture: BroadcastFrame) -> bool:
        """The newest one; True: another was dropped for it."""
        return self._picture.put(picture)

    def allow(self, total: int) -> None:
        """The client takes so many in all. Raises CreditError."""
        self._allowance.raise_to(total)

    def request_codec(self, kind: Kind) -> None:
        """The client wants its pictures so from the next one on, of VP8 first one that stands alone."""
        if kind is not Kind.VP8:
            self._encoder = None
        elif self._encoder is None:
            self._encoder = Vp8Encoder()
        self._is_key_due = True

    async def next(self, quality: Quality) -> MediaFrame | None:
        """The waiting picture, coded; None: it cannot be sent. Call it if `may_send`."""
        newest, skipped = self._picture.take()
        picture = to_video_frame(newest.rgb, newest.pts)
        kind, data = await self._coded(picture, quality)
        if not 0 < len(data) <= MAX_PAYLOAD_BYTES:
            logger.warning("drops a picture of %d bytes", len(data))
            self._is_key_due = True
            return None
        return MediaFrame(
            kind, self._allowance.spend(), microseconds(picture), min(skipped, MOST_SKIPPED), data
        )

    async def _coded(self, picture: VideoFrame, quality: Quality) -> tuple[Kind, bytes]:
        encoder, key = self._encoder, self._is_key_due
        if encoder is not None:
            self._is_key_due = False  # here: the client may want another one meanwhile
            try:
                bitrate = vp8_bitrate(picture.width, picture.height, quality)
                return Kind.VP8, await asyncio.to_thread(encoder.encode, picture, bitrate, key=key)
            except FFmpegError:
                logger.exception("VP8 could not be encoded; goes on with JPEGs")
                self._encoder = None
        return Kind.JPEG, await asyncio.to_thread(encode_jpeg, picture, quality)
