from fractions import Fraction

import numpy as np
import pytest
from av import VideoFrame

from server.media.frames import (
    NEUTRAL,
    beside,
    filling,
    fitted,
    is_usable,
    letterboxed,
    stamp_source,
    to_rgb,
    to_video_frame,
    with_note,
)


def camera(width: int, height: int, colour: tuple[int, int, int] = (200, 100, 50)) -> VideoFrame:
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[...] = colour
    return VideoFrame.from_ndarray(rgb).reformat(format="yuv420p")


@pytest.mark.parametrize("source", [(640, 480), (1280, 720), (128, 72), (300, 900), (426, 240)])
def test_frames_keep_their_size(source):
    (rgb,) = to_rgb([camera(*source)])
    assert rgb.shape == (source[1], source[0], 3)
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - (200, 100, 50)).max() < 12  # through 4:2:0 and back


def test_size_may_change_in_mid_stream():
    pictures = to_rgb([camera(640, 480), camera(320, 240), camera(640, 480)])
    assert [p.shape for p in pictures] == [(480, 640, 3), (240, 320, 3), (480, 640, 3)]


@pytest.mark.parametrize("source", [(640, 480), (1280, 720), (128, 72), (300, 900)])
@pytest.mark.parametrize("size", [(256, 144), (832, 480), (64, 48)])
def test_a_frame_fills_the_picture_with_its_middle(source, size):
    """Dark edges on all four sides; at least on two, whatever is cropped, they are still there."""
    rgb = np.zeros((source[1], source[0], 3), np.uint8)
    rgb[source[1] // 4 : -source[1] // 4, source[0] // 4 : -source[0] // 4] = 200
    filled = filling(VideoFrame.from_ndarray(rgb).reformat(format="yuv420p"), size)
    assert filled.shape == (size[1], size[0], 3)
    bright = (filled > 100).all(-1)
    assert bright[size[1] // 2, size[0] // 2]
    for mirrored in (bright[::-1], bright[:, ::-1]):
        assert (bright != mirrored).mean() < 0.05
    assert 0.2 < bright.mean() < 0.9


@pytest.mark.parametrize("source", [(640, 480), (480, 640), (300, 900), (64, 64)])
@pytest.mark.parametrize("size", [(256, 144), (144, 256), (64, 64)])
def test_fitted_to_fit_all_of_a_frame_is_there_between_bars(source, size):
    shown = fitted(camera(*source), size, "fit")
    assert shown.shape == (size[1], size[0], 3)
    is_camera = np.abs(shown.astype(int) - (200, 100, 50)).max(-1) < 12
    scale = min(size[0] / source[0], size[1] / source[1])
    width, height = round(source[0] * scale), round(source[1] * scale)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    assert is_camera[top : top + height, left : left + width].all()
    assert is_camera.sum() == width * height and not shown[~is_camera].any()


def test_fitted_to_fill_it_is_cropped_as_ever():
    frame = camera(640, 480)
    assert np.array_equal(fitted(frame, (256, 144), "fill"), filling(frame, (256, 144)))


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (100, 100), (9, 64)])
def test_a_letterboxed_picture_is_whole_in_the_middle_of_black(shape):
    boxed = letterboxed(np.full((*shape, 3), 200, np.uint8), (64, 48))
    assert boxed.shape == (48, 64, 3) and set(np.unique(boxed)) <= {0, 200}
    scale = min(64 / shape[1], 48 / shape[0])
    assert (boxed[..., 0] == 200).sum() == round(shape[1] * scale) * round(shape[0] * scale)
    assert np.abs((boxed == boxed[::-1, ::-1]).mean() - 1) < 0.05


def test_video_frame_keeps_pixels_and_time():
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    frame = to_video_frame(rgb, 9000)
    assert np.array_equal(frame.to_ndarray(format="rgb24"), rgb)
    assert frame.pts * Fraction(frame.time_base.numerator, frame.time_base.denominator) == Fraction(1, 10)


@pytest.mark.parametrize(
    ("size", "usable"),
    [
        ((1920, 1080), True),
        ((8192, 4320), False),
        ((16, 16383), False),
        ((2560, 1440), True),
        ((2560, 1441), False),
        ((800, 100), True),
        ((100, 800), True),
        ((801, 100), False),
        ((100, 801), False),
    ],
)
def test_a_peer_cannot_make_us_hold_or_scale_a_huge_frame(size, usable):
    assert is_usable(*size) is usable


@pytest.mark.parametrize("size", [(64, 48), (256, 144), (832, 480)])
@pytest.mark.parametrize("note", ["live", "failed: " + "a long explanation " * 30])
def test_note_covers_the_bottom_of_the_camera_only(size, note):
    picture = with_note(camera(640, 480), size, note)
    assert picture.shape == (size[1], size[0], 3)
    assert np.abs(picture[: size[1] // 8].astype(int) - (200, 100, 50)).max() < 12
    assert picture[-size[1] // 6 :].max() > 230  # white letters


def test_without_a_camera_the_picture_is_neutral_not_black():
    picture = with_note(None, (256, 144), "warming: loading")
    assert tuple(picture[0, 0]) == NEUTRAL
    assert picture.max() > 230


@pytest.mark.parametrize("size", [(64, 48), (48, 64)])
def test_beside_is_the_cameras_middle_on_the_left_and_the_output_untouched_on_the_right(size):
    output = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    both = beside(camera(640, 480), output)
    assert both.shape == (size[1], 2 * size[0], 3)
    assert np.abs(both[:, : size[0]].astype(int) - (200, 100, 50)).max() < 12
    assert np.array_equal(both[:, size[0] :], output)
    without = beside(None, output)
    assert (without[:, : size[0]] == NEUTRAL).all() and np.array_equal(without[:, size[0] :], output)


def test_beside_and_under_a_note_the_camera_is_fitted_as_asked():
    both = beside(camera(160, 90), np.zeros((64, 48, 3), np.uint8), "fit")
    assert not both[0, :48].any() and both[32, 24].any()
    noted = with_note(camera(90, 160), (256, 144), "waiting", "fit")
    assert not noted[0, 0].any() and noted[20, 128].any()


def test_stamp_is_the_top_of_the_frame_behind_each_picture():
    generated = np.full((9, 40, 64, 3), 7, np.uint8)
    sources = [np.full((120, 80, 3), 10 * n, np.uint8) for n in range(12)]
    stamped = stamp_source(generated, sources)
    for number, picture in enumerate(stamped):
        assert (picture[:4] == 10 * (number + 3)).all()  # the newest nine of twelve
        assert (picture[4:] == 7).all()
    assert (generated == 7).all()


def test_stamp_keeps_columns_readable():
    source = np.zeros((192, 256, 3), np.uint8)
    source[:19, 128:] = 255
    stamped = stamp_source(np.zeros((1, 144, 256, 3), np.uint8), [source])
    assert stamped[0, :14, :120].max() == 0 and stamped[0, :14, 136:].min() == 255
