"""JPEGs of strangers are decoded safely, and ours are small."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.media.frames import to_video_frame
from server.media.images import ImageRejected
from server.media.jpeg import decode_jpeg, encode_jpeg, microseconds


def picture(width: int = 64, height: int = 48, format: str = "JPEG", mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (width, height), 90).save(data, format)
    return data.getvalue()


def test_a_camera_frame_keeps_its_time_and_its_colours():
    rgb = np.full((48, 64, 3), (200, 90, 40), np.uint8)
    frame = to_video_frame(rgb, pts=45_000)
    assert microseconds(frame) == 500_000
    decoded = decode_jpeg(encode_jpeg(frame, "high"), microseconds(frame))
    assert decoded.time == 0.5
    assert np.abs(decoded.to_ndarray(format="rgb24").astype(int) - rgb).max() <= 4


def test_quality_is_size():
    noise = np.random.default_rng(0).integers(0, 255, (144, 256, 3), np.uint8)
    low, medium, high = (len(encode_jpeg(to_video_frame(noise, 0), q)) for q in ("low", "medium", "high"))
    assert low < medium < high


@pytest.mark.parametrize("size", [(16, 16), (128, 16), (2560, 1440)])
def test_the_smallest_the_longest_and_the_largest_are_taken(size):
    frame = decode_jpeg(picture(*size), 1_234_567)
    assert (frame.width, frame.height) == size
    assert microseconds(frame) == 1_234_567


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_spaces_become_rgb(mode):
    assert decode_jpeg(picture(mode=mode), 0).format.name == "rgb24"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        picture()[:-300],
        picture(format="PNG"),
        picture(4000, 2000),
        picture(8, 8),
        picture(640, 64),
        picture(100, 15),
    ],
    ids=["nothing", "its beginning", "cut", "a PNG", "too large", "too small", "too wide", "too flat"],
)
def test_what_is_no_usable_jpeg_is_refused_in_words(data):
    with pytest.raises(ImageRejected, match="JPEG|expected"):
        decode_jpeg(data, 0)


@given(st.data())
def test_no_broken_jpeg_raises_anything_else(data):
    broken = bytearray(picture())
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(2, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_jpeg(bytes(broken), 0)
    except ImageRejected as error:
        assert str(error)
