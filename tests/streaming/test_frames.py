"""Camera pictures of any size become frames of one size: centred, undistorted, in [-1, 1]."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from streaming.frames import channels, crop_to_fill, fit_frames, from_uint8, inside_bars, to_uint8

HEIGHT, WIDTH = 18, 32


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3))
def test_any_mix_of_sizes_gives_frames_of_the_target_size(sizes):
    fitted = fit_frames([picture(*size) for size in sizes], HEIGHT, WIDTH, "cpu")
    assert fitted.shape == (len(sizes), 3, HEIGHT, WIDTH)
    assert fitted.dtype == torch.float32 and fitted.is_contiguous()
    assert fitted.min() >= -1 and fitted.max() <= 1


def test_a_picture_of_the_target_size_keeps_every_pixel():
    frame = picture(HEIGHT, WIDTH)
    [fitted] = fit_frames([frame], HEIGHT, WIDTH, "cpu")
    levels = ((fitted + 1) * 127.5).round().to(torch.uint8)
    assert np.array_equal(levels.permute(1, 2, 0).numpy(), frame)


def test_levels_and_values_are_each_other_s_inverse_and_what_is_out_of_range_is_clamped():
    levels = torch.arange(256, dtype=torch.uint8)
    values = from_uint8(levels)
    assert torch.equal(to_uint8(values), levels) and torch.equal(levels, torch.arange(256).byte())
    assert torch.equal(values, from_uint8(levels)), "to_uint8 leaves what it is given"
    assert to_uint8(torch.tensor([-1.1, 1.1, 0.004 / 127.5])).tolist() == [0, 255, 128]


def test_black_is_minus_one_and_white_plus_one():
    black, white = (np.full((40, 40, 3), level, np.uint8) for level in (0, 255))
    fitted = fit_frames([black, white], HEIGHT, WIDTH, "cpu")
    assert torch.equal(fitted[0], torch.full_like(fitted[0], -1))
    assert torch.equal(fitted[1], torch.full_like(fitted[1], 1))


@torch.inference_mode()
def test_numbers_of_the_colours_are_made_once_and_are_good_in_every_mode():
    made = channels((0.25, 0.5, 1.0), torch.device("cpu"))
    assert made.shape == (3, 1, 1) and made.flatten().tolist() == [0.25, 0.5, 1.0]
    assert channels((0.25, 0.5, 1.0), torch.device("cpu")) is made and not made.is_inference()


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((480, 640), slice(60, 420), slice(0, 640)), ((100, 640), slice(0, 100), slice(231, 409))],
)
def test_the_crop_is_the_centre_at_the_target_aspect_ratio(size, rows, columns):
    frame = picture(*size)
    assert np.array_equal(crop_to_fill(frame, 144, 256), frame[rows, columns])


def test_resizing_is_antialiased_like_pillow():
    frame = picture(4 * HEIGHT, 4 * WIDTH)
    expected = np.asarray(Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    [fitted] = fit_frames([frame], HEIGHT, WIDTH, "cpu")
    levels = (fitted.permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(levels - expected).max() <= 1.01  # a rounding of the last level


def test_pictures_may_be_read_only_views_and_stay_unchanged():
    frame = picture(60, 100)
    kept = frame.copy()
    view = frame[:, ::-1]
    view.flags.writeable = False
    fit_frames([view, np.broadcast_to(np.uint8(7), (50, 50, 3))], HEIGHT, WIDTH, "cpu")
    assert np.array_equal(frame, kept)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"frames\[1\]: expected \(H, W, 3\) uint8, got \(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\) uint8"),
        (np.zeros((4, 4, 3), np.float32), r"got \(4, 4, 3\) float32"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\) uint8"),
        (None, r"frames\[1\]: expected a numpy array .* got NoneType"),
    ],
)
def test_a_bad_picture_is_named(frame, message):
    with pytest.raises(ValueError, match=message):
        fit_frames([picture(4, 4), frame], HEIGHT, WIDTH, "cpu")


def test_no_pictures_and_no_target_are_refused():
    with pytest.raises(ValueError, match="frames: expected at least one"):
        fit_frames([], HEIGHT, WIDTH, "cpu")
    with pytest.raises(ValueError, match="target size: .* got 0x32"):
        fit_frames([picture(4, 4)], 0, WIDTH, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same_frames_up_to_a_rounding():
    frames = [picture(60, 100), picture(480, 640), picture(HEIGHT, WIDTH)]
    on_cpu = fit_frames(frames, HEIGHT, WIDTH, "cpu")
    on_gpu = fit_frames(frames, HEIGHT, WIDTH, "cuda").cpu()
    assert (on_cpu - on_gpu).abs().max() <= 1.01 / 127.5


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((64, 64), slice(0, 144), slice(56, 200)),
        ((480, 640), slice(0, 144), slice(32, 224)),
        ((100, 1000), slice(59, 85), slice(0, 256)),
        ((1000, 1), slice(0, 144), slice(127, 128)),
        ((288, 512), slice(0, 144), slice(0, 256)),
    ],
)
def test_all_of_a_picture_is_shown_between_black_bars(size, rows, columns):
    white = np.full((*size, 3), 255, np.uint8)
    [fitted] = fit_frames([white], 144, 256, "cpu", "fit")
    assert (fitted[:, rows, columns] == 1).all()
    fitted[:, rows, columns] = -1
    assert (fitted == -1).all()
    assert inside_bars(size, 144, 256) == (rows, columns)


def test_a_picture_of_the_target_aspect_is_the_same_either_way():
    shown = [picture(HEIGHT * 3, WIDTH * 3), picture(HEIGHT, WIDTH)]
    assert torch.equal(
        fit_frames(shown, HEIGHT, WIDTH, "cpu", "fit"), fit_frames(shown, HEIGHT, WIDTH, "cpu")
    )
