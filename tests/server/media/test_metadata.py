"""Metadata never refuses a picture: pixels decide, and of the rest the orientation alone is used."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from server.media.images import DECODE_ERRORS, ImageRejected, decode_image
from server.media.jpeg import decode_jpeg
from server.media.metadata import without_metadata

FORMATS = ("PNG", "JPEG", "WEBP")


def corners() -> Image.Image:
    """Another grey in every corner: no orientation looks like another."""
    grey = np.kron(np.array([[20, 90, 160], [200, 120, 50]], np.uint8), np.ones((16, 16), np.uint8))
    return Image.fromarray(grey).convert("RGB")


def file_of(format: str, exif: bytes = b"") -> bytes:
    data = io.BytesIO()
    corners().save(data, format, quality=100, lossless=True, exif=exif)
    return data.getvalue()


def tiff(orientation: int, order: str = "<", tag: int = 0x0112, kind: int = 3) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, tag, kind, 1, orientation, 0, 0)


def png_chunk(kind: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(kind + content) ^ damaged
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_with(*chunks: bytes) -> bytes:
    data = file_of("PNG")
    return data[:33] + b"".join(chunks) + data[33:]  # behind IHDR


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    data = file_of("JPEG")
    more = (struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return data[:2] + b"".join(more) + data[2:]


def expected(orientation: int) -> np.ndarray:
    image = corners()
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_law_all_eight_orientations_are_upright(format, orientation, order):
    data = file_of(format, b"Exif\0\0" + tiff(orientation, order))
    wanted = expected(orientation).astype(int)
    assert np.abs(decode_image(data) - wanted).max() <= 6
    if format == "JPEG":
        frame = decode_jpeg(data, 0)
        assert (frame.height, frame.width) == wanted.shape[:2]
        assert np.abs(frame.to_ndarray(format="rgb24") - wanted).max() <= 6


BROKEN_EXIF = [
    b"",
    b"I",
    b"not a TIFF file",
    b"II*\0\xff\xff\xff\xff",
    b"II*\0" + struct.pack("<IH", 8, 65535),
    b"MM\0*" + struct.pack("<IH", 8, 1),
    tiff(9),
    tiff(0),
    tiff(6)[:-8],
    tiff(6, tag=0x0100),
    tiff(6, kind=4),
]


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.parametrize("format", FORMATS)
def test_law_broken_exif_refuses_no_picture(format, exif):
    if format == "PNG":
        data = png_with(png_chunk(b"eXIf", exif))
    elif format == "JPEG":
        data = jpeg_with((0xE1, b"Exif\0\0" + exif))
    else:
        whole = file_of("WEBP", b"Exif\0\0" + tiff(3))
        data = (
            whole[: whole.index(b"EXIF")]
            + b"EXIF"
            + struct.pack("<I", len(exif))
            + exif
            + b"\0" * (len(exif) % 2)
        )
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert np.abs(decode_image(data) - expected(1).astype(int)).max() <= 6


@pytest.fixture(scope="module")
def huge() -> bytes:
    """Not made when the module is imported, which every process of the tests does."""
    return zlib.compress(b"\0" * (80 << 20), 9)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(b"iTXt", b"workflow\0\1\0\0\0"), (b"zTXt", b"prompt\0\0"), (b"iCCP", b"profile\0\0")],
)
def test_law_no_text_or_profile_that_unpacks_to_80_mib_refuses_a_png(kind, name, huge):
    assert np.array_equal(decode_image(png_with(png_chunk(kind, name + huge))), expected(1))


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"tEXt", b"prompt\0" + b"x" * (2 << 20)),
        png_chunk(b"iCCP", b"no end of the name"),
        png_chunk(b"pHYs", b"1"),
        png_chunk(b"cHRM", b"1"),
        png_chunk(b"acTL", b""),
        png_chunk(b"fcTL", b"1"),
        png_chunk(b"tEXt", b"a\0b", damaged=True),
        png_chunk(b"eXIf", b"II", damaged=True),
        png_chunk(b"gAMA", b"\0\0\0\1", damaged=True),
        png_chunk(b"tRNS", b"\0\1\0\1\0\1", damaged=True),
        b"".join(png_chunk(b"tEXt", b"%d\0" % n + b"x" * (1 << 20)) for n in range(7)),
    ],
)
def test_law_no_text_profile_or_checksum_refuses_a_png(chunk):
    assert np.array_equal(decode_image(png_with(chunk)), expected(1))


@pytest.mark.parametrize(
    "segment",
    [
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),
        (0xE2, b"ICC_PROFILE\0\1"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xED, b"Photoshop 3.0\0008BIM\4\4\0\0\xff\xff\xff\xff"),
        (0xFE, b"\xff" * 60_000),
    ],
)
def test_law_no_segment_of_metadata_refuses_a_jpeg(segment):
    data = jpeg_with(segment)
    assert np.abs(decode_image(data) - expected(1).astype(int)).max() <= 6
    assert decode_jpeg(data, 0).height == 32


@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP", b"????"])
def test_law_no_chunk_of_metadata_refuses_a_webp(kind):
    """Not even one that says it is longer than the file."""
    data = file_of("WEBP", b"Exif\0\0" + tiff(6))
    data = data[: data.index(b"EXIF")] + kind + b"\xff\xff\xff\x7f" + b"short"
    assert np.array_equal(decode_image(data), expected(1))


@given(st.sampled_from(FORMATS), st.data())
@example("PNG", None)
def test_law_no_bytes_make_it_raise(format, data):
    """And what is refused is refused in words."""
    whole = file_of(format, b"Exif\0\0" + tiff(6))
    if data is None:
        changed = whole[:20]
    else:
        at = data.draw(st.integers(0, len(whole)))
        changed = whole[:at] + data.draw(st.binary(max_size=40)) + whole[at + data.draw(st.integers(0, 40)) :]
    without_metadata(changed)
    try:
        decode_image(changed)
    except ImageRejected as error:
        assert not any(mark in str(error) for mark in ("<", "b'", "0x", "Error"))
        assert isinstance(error.__cause__, DECODE_ERRORS) or "expected" in str(error)
