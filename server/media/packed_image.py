"""Packed picture: pixels as bytes without loss, for our own processes; quick rather than small."""

import struct
import zlib

import numpy as np

from server.media.frames import Rgb
from server.media.images import KEPT_SIDE, ImageRejected

_SIZE = struct.Struct(">HH")
_LEVEL = 1


def pack_image(rgb: Rgb) -> bytes:
    """(H, W, 3) uint8, no side above KEPT_SIDE. Up to 0.1 s for the largest: call it in a thread."""
    return _SIZE.pack(*rgb.shape[:2]) + zlib.compress(rgb.tobytes(), _LEVEL)


def unpack_image(data: bytes) -> Rgb:
    """(H, W, 3) uint8. Raises ImageRejected for what `pack_image` cannot have made."""
    if len(data) < _SIZE.size:
        raise ImageRejected(f"{len(data)} bytes: expected a packed picture")
    height, width = _SIZE.unpack_from(data)
    if not 1 <= height <= KEPT_SIDE or not 1 <= width <= KEPT_SIDE:
        raise ImageRejected(f"{width}x{height}: expected sides of 1 to {KEPT_SIDE}")
    unpacker, size = zlib.decompressobj(), height * width * 3
    try:
        pixels = unpacker.decompress(data[_SIZE.size :], size)
    except zlib.error as error:
        raise ImageRejected(f"no packed picture: {error}") from error
    if len(pixels) != size:
        raise ImageRejected(f"{width}x{height}: expected {size} bytes of pixels, got {len(pixels)}")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
