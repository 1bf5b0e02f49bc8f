"""Pictures as VP8: each builds on those before, and none is larger than it may be."""

import numpy as np
import pytest
from av import VideoFrame

from server.media.coded_size import is_vp8_key
from server.media.frames import to_video_frame
from server.media.images import ImageRejected
from server.media.jpeg import MICROSECOND
from server.media.vp8 import Vp8Decoder, Vp8Encoder

BITRATE = 1_000_000


def picture(grey: int, size: tuple[int, int] = (64, 48)) -> VideoFrame:
    return to_video_frame(np.full((size[1], size[0], 3), grey, np.uint8), pts=0)


def coded(count: int, keys: tuple[int, ...] = (0,)) -> list[bytes]:
    """Pictures that get brighter by one each."""
    encoder = Vp8Encoder()
    return [encoder.encode(picture(100 + n), BITRATE, key=n in keys) for n in range(count)]


def test_every_picture_that_goes_in_comes_out_at_once():
    decoder = Vp8Decoder()
    for number, data in enumerate(coded(30)):
        frame = decoder.decode(data, 1000 * number)
        assert (frame.width, frame.height, frame.pts, frame.time_base) == (64, 48, 1000 * number, MICROSECOND)
        assert abs(frame.to_ndarray(format="rgb24").mean() - (100 + number)) < 4


def test_a_key_frame_comes_first_when_asked_for_and_with_another_size_or_bitrate():
    assert [n for n, data in enumerate(coded(20, keys=(0, 7))) if is_vp8_key(data)] == [0, 7]
    encoder = Vp8Encoder()
    sizes = [((64, 48), BITRATE), ((64, 48), BITRATE), ((96, 64), BITRATE), ((96, 64), 2 * BITRATE)]
    made = [encoder.encode(picture(9, size), rate, key=False) for size, rate in sizes]
    assert [is_vp8_key(data) for data in made] == [True, False, True, True]


def test_a_picture_has_its_share_of_the_bitrate():
    """However far apart pictures are sent: the encoder is not told."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 144, 256, 3)).astype(np.uint8)
    encoder = Vp8Encoder()
    sizes = [
        len(encoder.encode(to_video_frame(rgb, 90_000 * n), BITRATE, key=n == 0))
        for n, rgb in enumerate(noise)
    ]
    assert np.mean(sizes[10:]) == pytest.approx(BITRATE / 8 / 24, rel=0.3)


def test_a_picture_whose_ground_is_missing_is_refused_until_a_key_frame_comes():
    made = coded(5, keys=(0, 3))
    decoder = Vp8Decoder()
    with pytest.raises(ImageRejected, match="expected a key frame"):
        decoder.decode(made[1], 0)
    decoder.decode(made[0], 0)
    with pytest.raises(ImageRejected, match="no VP8 that can be read"):
        decoder.decode(b"\x01\x02\x03", 0)
    with pytest.raises(ImageRejected, match="expected a key frame"):
        decoder.decode(made[2], 0)
    decoder.decode(made[3], 0)
    decoder.decode(made[4], 0)


def test_after_a_key_frame_that_cannot_be_read_another_one_is_needed():
    made = coded(3)
    decoder = Vp8Decoder()
    assert decoder.needs_key
    decoder.decode(made[0], 0)
    assert not decoder.needs_key
    with pytest.raises(ImageRejected, match="no VP8 that can be read"):
        decoder.decode(made[0][:12], 0)
    assert decoder.needs_key
    with pytest.raises(ImageRejected, match="expected a key frame"):
        decoder.decode(made[1], 0)


@pytest.mark.parametrize("size", [(16, 16), (128, 16)])
def test_the_smallest_and_the_longest_are_taken(size):
    data = Vp8Encoder().encode(picture(90, size), BITRATE, key=True)
    frame = Vp8Decoder().decode(data, 0)
    assert (frame.width, frame.height) == size


@pytest.mark.parametrize("size", [(4000, 2000), (8, 8), (16000, 16)])
def test_a_size_that_is_not_wanted_is_refused_before_it_is_decoded(size, monkeypatch):
    width, height = size
    header = (
        bytes([0x10, 0, 0]) + b"\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    )
    with pytest.raises(ImageRejected, match=f"{width}x{height}: expected 16 pixels each way and at most"):
        Vp8Decoder().decode(header + bytes(100), 0)


@pytest.mark.parametrize("data", [b"\x00", b"\x00" * 9, b"\x10\x00\x00nothing here", coded(1)[0][:12]])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ImageRejected, match="no VP8 that can be read"):
        Vp8Decoder().decode(data, 0)
