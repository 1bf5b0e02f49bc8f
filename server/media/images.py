"""Pictures that people upload: decoded safely, made small, kept by session.

A picture is foreign bytes for a decoder in C: only three formats are tried, its size is read before its
pixels, and what is kept is an array made by us, never the bytes that came.
"""

import io
import secrets
import struct
import zlib
from collections.abc import Callable, Collection

import numpy as np
from PIL import Image, UnidentifiedImageError

from server.media.frames import Rgb
from server.media.metadata import upright, without_metadata

IMAGE_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
MAX_IMAGE_BYTES = 8 << 20
MAX_IMAGE_PIXELS = 24_000_000
MIN_SIDE = 16
MAX_ASPECT = 8  # of the longer side to the shorter: beyond this, filling a frame with it makes it huge
KEPT_SIDE = 1280  # what is kept is scaled to this at most: no model's frame is larger, and memory is ours
KEPT_IMAGES = 16  # 79 MB at most

# What Pillow raises for broken files; it has no error of its own for all of them.
DECODE_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, IndexError, KeyError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class ImageRejected(Exception):
    """The picture cannot be taken; the text says what was expected."""


def decode_image(data: bytes) -> Rgb:
    """PNG, JPEG or WebP as (H, W, 3) uint8, upright, over white where transparent, no side above KEPT_SIDE.

    Takes up to a second and 200 MB for the largest picture: call it in a thread, one at a time. Raises
    ImageRejected.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageRejected(f"{len(data)} bytes: expected at most {MAX_IMAGE_BYTES}")
    try:
        pixels, orientation = without_metadata(data)
        with Image.open(io.BytesIO(pixels), formats=tuple(IMAGE_TYPES.values())) as image:
            _check_size(image.width, image.height)  # known from the header: no pixel has been decoded yet
            # A JPEG can be decoded at a half or a quarter of its size; others ignore this.
            image.draft("RGB", (KEPT_SIDE, KEPT_SIDE))
            return np.ascontiguousarray(upright(_small_rgb(image), orientation))
    except DECODE_ERRORS as error:
        raise ImageRejected(f"no PNG, JPEG or WebP picture that can be read{reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What a decoder says of a broken file, where those are words: ": image file is truncated"."""
    is_in_words = isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError)
    return f": {error}" if is_in_words and "<" not in str(error) else ""


class ImageStore:
    """The uploaded pictures of one session. The oldest that is not in use gives way to a new one.

    images = ImageStore(in_use=lambda: ids_of_references_and_mask)
    id = images.add(decode_image(data))
    images.get(id)   # (H, W, 3) uint8, or None
    """

    def __init__(self, in_use: Callable[[], Collection[str]] = tuple) -> None:
        self._in_use = in_use
        self._images: dict[str, Rgb] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._images)

    def add(self, rgb: Rgb) -> str:
        """Keep a picture; returns its id. Fewer than KEPT_IMAGES must be in use at once."""
        if len(self._images) >= KEPT_IMAGES:
            used = set(self._in_use())
            del self._images[next(id for id in self._images if id not in used)]
        id = secrets.token_urlsafe(8)
        self._images[id] = rgb
        return id

    def restore(self, id: str, rgb: Rgb) -> None:
        """Keep a picture under an id that it had in another process."""
        self._images[id] = rgb

    def get(self, id: str) -> Rgb | None:
        return self._images.get(id)


def _check_size(width: int, height: int) -> None:
    size = f"{width}x{height}"
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageRejected(f"{size}: expected at most {MAX_IMAGE_PIXELS / 1e6:.0f} megapixels")
    if min(width, height) < MIN_SIDE:
        raise ImageRejected(f"{size}: expected at least {MIN_SIDE} pixels each way")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageRejected(f"{size}: expected one side at most {MAX_ASPECT} times the other")


def _small_rgb(image: Image.Image) -> Image.Image:
    """The first picture of the file, 8 bits a channel, no side above KEPT_SIDE."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip instead of scaling
        grey = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(np.minimum(grey, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image.thumbnail((KEPT_SIDE, KEPT_SIDE))
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    image = image.convert("RGB")
    image.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return image
