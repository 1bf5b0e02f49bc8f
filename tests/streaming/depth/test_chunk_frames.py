"""Frames of a chunk that are seen as they come give what they give at once."""

import numpy as np
import pytest
import torch
from torch import Tensor

from streaming.api import CameraFit
from streaming.checkpoints.presets import find_preset
from streaming.depth.chunk_frames import ChunkFrames, SeenFrame, look_at
from streaming.depth.estimators import DepthEstimator, EdgesDepth, load_depth
from streaming.depth.range import DepthRange
from streaming.frames import fit_frames

CPU = torch.device("cpu")
SIZE = (48, 64)


class Counted:
    """Brightness, and how many frames each call had."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def estimate(self, frames: Tensor) -> Tensor:
        self.calls.append(len(frames))
        return frames.mean(dim=1)

    def new_range(self) -> DepthRange:
        return DepthRange()


def pictures(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def seen(
    shown: list[np.ndarray],
    estimator: DepthEstimator | None,
    *,
    group: int = 3,
    size: tuple[int, int] = SIZE,
) -> list[SeenFrame]:
    """Each group as it comes."""
    groups = [shown[first : first + group] for first in range(0, len(shown), group)]
    return [frame for one in groups for frame in look_at(one, *size, CPU, estimator)]


@pytest.mark.parametrize("count", [9, 12])
@pytest.mark.parametrize("ahead", [3, 6, 9])
def test_law_as_they_come_equals_at_once_bit_for_bit(count: int, ahead: int) -> None:
    """With the built-in network, which rounds alike in batches of any size above 1."""
    preset = find_preset("embedded")
    size = preset.height, preset.width
    network = load_depth(preset.depth, CPU, torch.float32)
    shown = pictures(count, (60, 110))
    whole = ChunkFrames.fitted(shown, *size, CPU)
    parts = ChunkFrames.fitted([*seen(shown[:ahead], network, size=size), *shown[ahead:]], *size, CPU)
    with torch.inference_mode():
        assert torch.equal(parts.pictures, whole.pictures)
        assert torch.equal(parts.estimate(network), whole.estimate(network))


@pytest.mark.parametrize("group", [1, 2, 3, 4])
def test_law_edges_as_they_come_are_those_at_once_but_for_the_last_bits(group: int) -> None:
    edges, shown = EdgesDepth(CPU), pictures(12)
    whole = ChunkFrames.fitted(shown, *SIZE, CPU).estimate(edges)
    parts = ChunkFrames.fitted(seen(shown, edges, group=group), *SIZE, CPU).estimate(edges)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


def test_pictures_are_fitted_as_ever() -> None:
    shown = [*pictures(2, (30, 70)), *pictures(2)]
    wanted = fit_frames(shown, *SIZE, CPU)
    for given in (shown, [*look_at(shown[:3], *SIZE, CPU, None), shown[3]]):
        assert torch.equal(ChunkFrames.fitted(given, *SIZE, CPU).pictures, wanted)


def test_the_estimator_is_asked_once_and_for_what_is_not_known_alone() -> None:
    estimator, shown = Counted(), pictures(5)
    known = look_at(shown[:2], *SIZE, CPU, estimator)
    unknown = look_at(shown[3:4], *SIZE, CPU, None)
    frames = ChunkFrames.fitted([known[0], shown[2], known[1], *unknown, shown[4]], *SIZE, CPU)
    estimate = frames.estimate(estimator)
    assert torch.equal(estimate, frames.pictures.mean(dim=1))
    assert frames.estimate(estimator) is estimate and estimator.calls == [2, 3]
    assert torch.equal(frames.newest(3).estimate(estimator), estimate[-3:]) and estimator.calls == [2, 3, 2]
    ChunkFrames.fitted(known, *SIZE, CPU).estimate(estimator)
    assert estimator.calls == [2, 3, 2]


def test_a_picture_that_is_written_to_later_was_seen_as_it_was() -> None:
    (shown,) = pictures(1)
    before = shown.copy()
    frames = look_at([shown], *SIZE, CPU, Counted())
    shown[:] = 0
    assert torch.equal(ChunkFrames.fitted(frames, *SIZE, CPU).pictures, fit_frames([before], *SIZE, CPU))


def test_a_frame_that_is_kept_keeps_no_memory_of_others() -> None:
    frame = look_at(pictures(4), *SIZE, CPU, Counted())[1]
    assert frame.estimate is not None
    for tensor in (frame.levels, frame.estimate):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_the_frame_at_fault_is_named() -> None:
    shown = pictures(2)
    known = look_at(shown, *SIZE, CPU, None)
    with pytest.raises(ValueError, match=r"frames\[2\]: expected \(H, W, 3\) uint8, got \(48, 64\)"):
        ChunkFrames.fitted([*known, shown[0][..., 0]], *SIZE, CPU)
    with pytest.raises(ValueError, match=r"frames\[1\]: expected .* float64"):
        look_at([shown[0], shown[1].astype(float)], *SIZE, CPU, None)


@pytest.mark.parametrize("seen_as", [(SIZE[::-1], "fit"), (SIZE, "fill")], ids=["turned", "fitted otherwise"])
def test_law_frames_seen_otherwise_equal_those_never_seen(seen_as: tuple[tuple[int, int], CameraFit]) -> None:
    shown, (size, fit) = [*pictures(3), np.full((90, 30, 3), 200, np.uint8)], seen_as
    known = look_at(shown[:3], *size, CPU, Counted(), fit)
    whole, parts = (ChunkFrames.fitted(given, *SIZE, CPU, "fit") for given in (shown, [*known, shown[3]]))
    assert torch.equal(whole.pictures, parts.pictures)
    assert whole.bars is not None and parts.bars is not None and torch.equal(whole.bars, parts.bars)
    parts.estimate(estimator := Counted())
    assert estimator.calls == [4], "nothing is known of them"


def test_bars_are_where_a_frame_shows_nothing_of_the_camera() -> None:
    """Frame by frame: a camera may be turned within a chunk. Without any there is no map of them."""
    shown = [np.full((SIZE[0], 30, 3), 200, np.uint8), np.full((*SIZE, 3), 200, np.uint8)]
    frames = ChunkFrames.fitted(shown, *SIZE, CPU, "fit")
    assert frames.bars is not None
    assert torch.equal(frames.bars, (frames.pictures == -1).all(1))
    assert frames.bars[0].any() and not frames.bars[1].any()
    assert torch.equal(frames.newest(1).bars, frames.bars[1:])
    assert ChunkFrames.fitted(shown[1:], *SIZE, CPU, "fit").bars is None
    assert ChunkFrames.fitted(shown, *SIZE, CPU).bars is None
