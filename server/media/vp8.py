"""Camera frames and generated pictures as VP8, each built on those before. Milliseconds: use a thread."""

from fractions import Fraction
from typing import Literal

import av
from av import Packet, VideoCodecContext, VideoFrame
from av.error import FFmpegError
from av.video.frame import PictureType

from server.media.coded_size import check_camera_size, is_vp8_key, vp8_size
from server.media.images import ImageRejected
from server.media.jpeg import MICROSECOND

NOMINAL_FPS = 24  # each picture gets this share of the bitrate: fewer on a slow way are not larger ones
NO_KEY_BY_ITSELF = 100_000  # frames: a key frame is made when it is asked for


class Vp8Decoder:
    """Decodes every picture of one sender, in order. After an error nothing is shown until a key frame."""

    def __init__(self) -> None:
        self._codec = _context("vp8", "r")
        self.needs_key = True

    def decode(self, data: bytes, timestamp_us: int) -> VideoFrame:
        """A camera frame, taken at `timestamp_us` on any clock. Raises ImageRejected."""
        if is_vp8_key(data):
            check_camera_size(vp8_size(data))
        elif self.needs_key:
            raise ImageRejected("it builds on a picture that is missing: expected a key frame")
        self.needs_key = True  # until it is decoded
        try:
            frames = self._codec.decode(Packet(data))  # pyright: ignore[reportUnknownMemberType] -- a generic
        except FFmpegError as error:
            raise ImageRejected(f"no VP8 that can be read: {error.strerror}") from error
        if len(frames) != 1:
            raise ImageRejected(f"{len(frames)} pictures in one: expected each to be shown")
        self.needs_key = False
        (frame,) = frames
        frame.pts, frame.time_base = timestamp_us, MICROSECOND
        return frame


class Vp8Encoder:
    """Encodes for one receiver, who gets every picture that went in."""

    def __init__(self) -> None:
        self._codec: VideoCodecContext | None = None
        self._count = 0

    def encode(self, frame: VideoFrame, bitrate: int, *, key: bool) -> bytes:
        """A frame as VP8, at about `bitrate` bits per second of 24 pictures; `key`: one that stands alone.

        One of another size or bitrate than before stands alone too. Raises av.FFmpegError.
        """
        codec = self._codec
        if codec is None or (codec.width, codec.height, codec.bit_rate) != (
            frame.width,
            frame.height,
            bitrate,
        ):
            codec = self._codec = _encoder(frame, bitrate)
        picture = frame.reformat(format="yuv420p", threads=1)
        picture.pts, picture.time_base = self._count, Fraction(1, NOMINAL_FPS)
        self._count += 1
        picture.pict_type = PictureType.I if key else PictureType.NONE
        # av.Packet is generic, and PyAV does not say of what.
        packets = codec.encode(picture)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return b"".join(bytes(packet) for packet in packets)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _encoder(frame: VideoFrame, bitrate: int) -> VideoCodecContext:
    """As WebRTC codes: no picture is held back, and none dropped."""
    codec = _context("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, NOMINAL_FPS), Fraction(NOMINAL_FPS)
    codec.bit_rate, codec.gop_size = bitrate, NO_KEY_BY_ITSELF
    codec.qmin, codec.qmax = 2, 56
    rate = str(bitrate)
    codec.options = {
        **{"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0"},
        **{"minrate": rate, "maxrate": rate, "bufsize": rate},
    }
    return codec


def _context(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    codec = av.CodecContext.create(name, mode)
    assert isinstance(codec, VideoCodecContext)
    codec.thread_count = 1  # several would hold pictures back
    return codec
