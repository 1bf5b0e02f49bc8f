"""Decoder of the camera pictures of one RTP sender, VP8 or H.264. Milliseconds each: use a thread.

Networks lose pictures, so it goes on after errors: a spoilt picture is more than none until a key frame
comes, which senders without PLI may not make for seconds.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import av
from av import Packet, VideoCodecContext, VideoFrame
from av.error import FFmpegError

from server.media.coded_size import (
    check_camera_size,
    h264_sizes,
    is_h264_entry,
    is_vp8_key,
    vp8_size,
)
from server.media.frames import MAX_CAMERA_PIXELS, Size
from server.media.images import ImageRejected
from server.media.pacing import CLOCK_RATE_HZ

# What a decoder itself may be led to allocate, should it read a header in another way than we do. A tenth
# more than is taken: what is decoded before cropping is larger.
MAX_DECODED_PIXELS = MAX_CAMERA_PIXELS * 11 // 10
KEPT_FORMATS = ("yuv420p", "yuvj420p")  # others have up to four times the bytes


class _Codec(NamedTuple):
    decoder: str
    is_entry: Callable[[bytes], bool]
    sizes: Callable[[bytes], list[Size]]


def _vp8_sizes(data: bytes) -> list[Size]:
    return [vp8_size(data)] if is_vp8_key(data) else []


CODECS = {
    "VP8": _Codec("vp8", is_vp8_key, _vp8_sizes),
    "H264": _Codec("h264", is_h264_entry, h264_sizes),
}


def is_entry(codec: str, data: bytes) -> bool:
    """Whether decoding can begin with this picture. Raises KeyError for a codec that is not of CODECS."""
    return CODECS[codec].is_entry(data)


class RtpDecoder:
    """Decodes what it is given, in order."""

    def __init__(self) -> None:
        self._decoders: dict[str, VideoCodecContext] = {}

    def decode(self, codec: str, data: bytes, pts: int) -> list[VideoFrame]:
        """The frames that are complete with this picture, with `pts` in 1/90000 s; mostly one.

        Raises ImageRejected; SizeRejected before any pixel is decoded. KeyError for a codec not of CODECS.
        """
        for size in CODECS[codec].sizes(data):
            check_camera_size(size)
        packet = Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, CLOCK_RATE_HZ)
        if codec not in self._decoders:
            self._decoders[codec] = _context(CODECS[codec].decoder)
        try:
            frames = self._decoders[codec].decode(packet)  # pyright: ignore[reportUnknownMemberType] -- a generic
        except FFmpegError as error:
            raise ImageRejected(f"no {codec} that can be read: {error.strerror}") from error
        return [kept(frame) for frame in frames]


def _context(name: str) -> VideoCodecContext:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, VideoCodecContext)
    codec.thread_count = 1
    codec.options = {"max_pixels": str(MAX_DECODED_PIXELS)}
    return codec


def kept(frame: VideoFrame) -> VideoFrame:
    """The frame in one of KEPT_FORMATS: itself, or a copy."""
    if frame.format.name in KEPT_FORMATS:
        return frame
    smaller = frame.reformat(format="yuv420p", threads=1)
    smaller.pts, smaller.time_base = frame.pts, frame.time_base
    return smaller
