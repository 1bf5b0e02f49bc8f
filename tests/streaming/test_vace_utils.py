"""The feature document's two helpers: ranges, shapes, bad values and the chunks of a depth video."""

import logging
import math

import numpy as np
import pytest
import torch

from streaming.vace_utils import extract_depth_chunk, preprocess_depth_frames

CPU = torch.device("cpu")


def preprocess(frames, **options):
    """At the size of the input, without the two leading axes: what the values become."""
    return preprocess_depth_frames(frames, *frames.shape[1:], CPU, **options)[0, 0]


def ramp(low: float, high: float) -> torch.Tensor:
    return torch.linspace(low, high, 2 * 3 * 4).view(2, 3, 4)


def test_called_as_the_document_shows_it():
    depth_video = preprocess_depth_frames(
        torch.rand(24, 5, 7), target_height=6, target_width=10, device=torch.device("cpu")
    )
    assert depth_video.shape == (1, 1, 24, 6, 10) and depth_video.dtype == torch.float32
    depth_chunk = extract_depth_chunk(depth_video, chunk_index=0, num_frames_per_chunk=12)
    assert depth_chunk.shape == (1, 1, 12, 6, 10)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (torch.tensor([0, 51, 255], dtype=torch.uint8), [-1, -0.6, 1]),
        (torch.tensor([0, 128], dtype=torch.uint8), [-1, 128 / 127.5 - 1]),  # from the type, not the values
        (torch.tensor([0.0, 0.25, 1.0]), [-1, -0.5, 1]),
        (torch.tensor([0.25, 0.5]), [-0.5, 0]),  # a narrow [0, 1] map is not stretched
        (torch.tensor([-1.0, 0.1, 0.5]), [-1, 0.1, 0.5]),
        (torch.tensor([-0.1, 0.5]), [-0.1, 0.5]),
        (torch.tensor([2.0, 3.0, 6.0]), [-1, -0.5, 1]),
        (torch.tensor([-3.0, 0.0, 1.0]), [-1, 0.5, 1]),
        (torch.tensor([7.0, 7.0]), [-1, -1]),
    ],
)
def test_the_range_is_guessed_from_type_and_values(frames, expected):
    assert preprocess(frames[None, None])[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_values_in_the_model_range_pass_bit_for_bit():
    frames = ramp(-1, 1)
    assert torch.equal(preprocess(frames), frames)


def test_one_range_serves_the_whole_clip():
    frames = torch.stack([torch.full((3, 4), level) for level in (10.0, 20.0, 30.0)])
    assert preprocess(frames).mean(dim=(1, 2)).tolist() == [-1, 0, 1]


def test_a_given_range_ends_the_guessing():
    frames = torch.tensor([[[0.0, 0.5, 1.0]]])  # in [-1, 1], but nothing below 0
    assert preprocess(frames)[0, 0].tolist() == [-1, 0, 1]
    assert preprocess(frames, value_range=(-1, 1))[0, 0].tolist() == [0, 0.5, 1]
    assert preprocess(frames, value_range=(0.25, 0.75))[0, 0].tolist() == [-1, 0, 1]
    levels = torch.tensor([[[0, 100, 200]]], dtype=torch.uint8)
    assert preprocess(levels, value_range=(0, 200))[0, 0].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, np.float32, np.float64])
def test_arrays_of_any_number_type_are_taken_and_left_alone(dtype):
    frames = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    frames.flags.writeable = False
    result = preprocess(frames)
    assert result.shape == (2, 3, 4) and result.dtype == torch.float32
    assert np.array_equal(frames.ravel(), np.arange(24))


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_bad_values_are_replaced_and_counted_in_one_line(scale, caplog):
    frames = ramp(0, 1) * scale
    clean = preprocess(frames)
    frames[0, 0, 1:] = torch.tensor([math.nan, math.inf, -math.inf])
    with caplog.at_level(logging.WARNING):
        result = preprocess(frames)
    assert result[0, 0].tolist() == [-1, 0, 1, -1]
    assert torch.equal(result[0, 1:], clean[0, 1:])  # the range comes from the good values
    assert [record.getMessage() for record in caplog.records] == [
        "depth_frames: replaced 3 of 24 values that are NaN or Inf"
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_clip_without_a_single_good_value_stays_finite(bad):
    assert preprocess(torch.full((2, 3, 4), bad)).isfinite().all()


def test_one_bad_value_does_not_spread_when_resized():
    frames = torch.full((1, 4, 4), 1.0)
    frames[0, 0, 0] = math.nan
    result = preprocess_depth_frames(frames, 8, 8, CPU)
    assert result.isfinite().all() and result[0, 0, 0, 4:, 4:].eq(1).all()


def test_resizing_is_bilinear_with_pixel_centres():
    result = preprocess_depth_frames(torch.tensor([[[-1.0, 1.0]]]), 1, 4, CPU)
    assert result.flatten().tolist() == pytest.approx([-1, -0.5, 0.5, 1])


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.zeros(3, 4), ValueError, r"expected \(F, H, W\).*got \(3, 4\)"),
        (torch.zeros(0, 3, 4), ValueError, r"got \(0, 3, 4\)"),
        (torch.zeros(2, 3, 4, dtype=torch.bool), TypeError, "got dtype torch.bool"),
        (np.zeros((2, 3, 4), dtype=bool), TypeError, "got dtype bool"),
        ([[0.0]], TypeError, "expected a tensor or numpy array, got list"),
    ],
)
def test_bad_frames_are_named(frames, error, message):
    with pytest.raises(error, match="depth_frames: .*" + message):
        preprocess_depth_frames(frames, 4, 4, CPU)


@pytest.mark.parametrize("value_range", [(1, 1), (1, -1), (0, math.inf), (math.nan, 1)])
def test_a_bad_range_is_named(value_range):
    with pytest.raises(ValueError, match="value_range: expected finite"):
        preprocess_depth_frames(ramp(0, 1), 4, 4, CPU, value_range=value_range)


def test_a_bad_target_is_named():
    with pytest.raises(ValueError, match="target size: expected at least 1x1, got 0x4"):
        preprocess_depth_frames(ramp(0, 1), 0, 4, CPU)


@pytest.mark.parametrize("channels", [1, 3])
def test_chunks_follow_one_another_without_overlap(channels):
    frames = torch.arange(36.0).view(1, 1, 36, 1, 1).expand(1, channels, 36, 2, 3)
    chunks = [extract_depth_chunk(frames, index) for index in range(3)]
    assert all(chunk.shape == (1, channels, 12, 2, 3) for chunk in chunks)
    assert torch.equal(torch.cat(chunks, dim=2), frames)


@pytest.mark.parametrize(("chunk_index", "available"), [(2, 35), (3, 36), (0, 11), (-1, 36)])
def test_a_chunk_the_video_does_not_hold_is_named(chunk_index, available):
    message = rf"got {chunk_index} \({available} frames available, 12 per chunk\)"
    with pytest.raises(ValueError, match=message):
        extract_depth_chunk(torch.zeros(1, 1, available, 2, 2), chunk_index)


def test_a_video_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"depth_video: expected \(1, C, F, H, W\), got \(12, 2, 2\)"):
        extract_depth_chunk(torch.zeros(12, 2, 2), 0)
    with pytest.raises(ValueError, match="num_frames_per_chunk: expected at least 1, got 0"):
        extract_depth_chunk(torch.zeros(1, 1, 12, 2, 2), 0, 0)
