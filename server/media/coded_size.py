"""Size of a coded camera picture, read from its headers before any pixel of it is decoded. Sans-IO.

A sender's few bytes decide how much a decoder allocates and works: 434 bytes of VP8 may claim 16000x16000.
"""

import re
from itertools import pairwise

from server.media.frames import MAX_CAMERA_ASPECT, MAX_CAMERA_PIXELS, Size, is_usable
from server.media.images import MIN_SIDE, ImageRejected

VP8_KEY_HEADER_BYTES = 10
VP8_START_CODE = b"\x9d\x01\x2a"  # RFC 6386, 9.1

H264_START_CODE = re.compile(b"\0\0\1")
IDR, SPS = 5, 7  # NAL unit types
MAX_SPS = 32  # of one picture; a stream has no more (H.264, 7.4.2.1.1), and each costs time to read
MAX_SPS_BYTES = 1024  # with every scaling list
MAX_CROP = 32  # pixels each way that cropping may take off what is decoded: a macroblock of fields
WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles; 7.3.2.1.1

EXPECTED = (
    f"{MIN_SIDE} pixels each way and at most {MAX_CAMERA_PIXELS} in all, "
    f"one side at most {MAX_CAMERA_ASPECT} times the other"
)


class SizeRejected(ImageRejected):
    """A camera picture of a size that is not taken."""

    def __init__(self, size: Size) -> None:
        self.size = f"{size[0]}x{size[1]}"
        super().__init__(f"{self.size}: expected {EXPECTED}")


def check_camera_size(size: Size) -> None:
    """Raise SizeRejected for a size that is not decoded, kept and scaled."""
    if min(size) < MIN_SIDE or not is_usable(*size):
        raise SizeRejected(size)


def is_vp8_key(data: bytes) -> bool:
    """Whether a coded picture stands alone."""
    return bool(data) and not data[0] & 1


def vp8_size(key: bytes) -> Size:
    """What a VP8 key frame is decoded to. Raises ImageRejected where its header cannot be read."""
    if len(key) < VP8_KEY_HEADER_BYTES or key[3:6] != VP8_START_CODE:
        raise ImageRejected("no VP8 that can be read: the key frame has no header")
    width, height = (int.from_bytes(key[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height


def is_h264_entry(data: bytes) -> bool:
    """Whether decoding can begin with an access unit in Annex B form: an IDR picture, or one with an SPS."""
    return any(data[at] & 0x1F in (IDR, SPS) for at, _ in _nal_units(data))


def h264_sizes(data: bytes) -> list[Size]:
    """What each SPS of an access unit in Annex B form says; none in most.

    Raises ImageRejected for one that cannot be read: a decoder that is more tolerant might read it.
    """
    units = [(at, end) for at, end in _nal_units(data) if data[at] & 0x1F == SPS]
    if len(units) > MAX_SPS:
        raise ImageRejected(f"{len(units)} H.264 parameter sets in one picture: expected at most {MAX_SPS}")
    try:
        return [_sps_size(data[at + 1 : min(end, at + 1 + MAX_SPS_BYTES)]) for at, end in units]
    except _Unreadable as error:
        raise ImageRejected("no H.264 that can be read: a sequence parameter set is broken") from error


def _nal_units(data: bytes) -> list[tuple[int, int]]:
    """Where each begins, at its header, and ends."""
    starts = [match.end() for match in H264_START_CODE.finditer(data)]
    return [(at, end - 3) for at, end in pairwise([*starts, len(data) + 3]) if at < len(data)]


def _sps_size(escaped: bytes) -> Size:
    """H.264, 7.3.2.1.1. What is decoded: cropped as the SPS says, unless it crops away more than padding."""
    bits = _Bits(escaped.replace(b"\0\0\3", b"\0\0"))
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    bits.golomb()  # its id
    chroma_format = 1
    if profile in WITH_CHROMA:
        chroma_format = bits.golomb()
        if chroma_format == 3:
            bits.read(1)
        bits.skip_golombs(2)  # bit depths
        bits.read(1)  # lossless
        if bits.read(1):
            _skip_scaling_lists(bits, 12 if chroma_format == 3 else 8)
    bits.golomb()  # digits of frame_num
    _skip_order_count(bits)
    bits.golomb()  # reference frames
    bits.read(1)  # gaps in frame_num
    width, height = bits.golomb() + 1, bits.golomb() + 1
    fields = 1 if bits.read(1) else 2
    bits.read(fields)  # of frames: direct_8x8; of fields: mb_adaptive_frame_field before it
    size = width * 16, height * 16 * fields
    if not bits.read(1):
        return size
    left, right, top, bottom = (bits.golomb() for _ in range(4))
    across = (left + right) * (2 if chroma_format in (1, 2) else 1)
    down = (top + bottom) * (2 if chroma_format == 1 else 1) * fields
    if across >= MAX_CROP or down >= MAX_CROP:
        return size
    return size[0] - across, size[1] - down


def _skip_scaling_lists(bits: "_Bits", count: int) -> None:
    for number in range(count):
        if not bits.read(1):
            continue
        last = scale = 8
        for _ in range(16 if number < 6 else 64):
            if scale:
                scale = (last + bits.signed_golomb()) % 256
            last = scale or last


def _skip_order_count(bits: "_Bits") -> None:
    match bits.golomb():
        case 0:
            bits.golomb()
        case 1:
            bits.read(1)
            bits.skip_golombs(2)
            count = bits.golomb()
            if count > 255:
                raise _Unreadable
            bits.skip_golombs(count)
        case 2:
            pass
        case _:
            raise _Unreadable


class _Unreadable(Exception):
    pass


class _Bits:
    """Bits of a byte string, from the highest. Reading beyond its end raises _Unreadable."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise _Unreadable
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Exp-Golomb, unsigned, of up to 32 bits (9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise _Unreadable
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_golombs(self, count: int) -> None:
        for _ in range(count):
            self.golomb()

    def signed_golomb(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)
