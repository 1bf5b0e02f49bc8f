"""What the figures of depth mean, on clips whose answers are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.bench.figures.depth import (
    WINDOW,
    edges_kept,
    edges_on_edges,
    flicker,
    grey,
    measure,
    still_pixels,
)

COUNT, HEIGHT, WIDTH = 21, 48, 64


def clip(speed: int = 0) -> tuple[Tensor, Tensor]:
    """A bright square before a dark wall, and its depth."""
    frames, depth = torch.full((COUNT, 3, HEIGHT, WIDTH), -0.5), torch.full((COUNT, HEIGHT, WIDTH), -0.6)
    for t in range(COUNT):
        left = 10 + speed * t
        frames[t, :, 16:32, left : left + 16], depth[t, 16:32, left : left + 16] = 0.5, 0.6
    return frames, depth


def noise(seed: int = 0) -> Tensor:
    return torch.randn(COUNT, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


# ---- flicker ----


def test_what_is_still_in_picture_and_depth_does_not_flicker() -> None:
    frames, depth = clip()
    figures = measure(frames, depth, depth, borders=[9])
    assert figures.flicker == figures.border == figures.inside == 0 and figures.still == 1


def test_flicker_is_the_deviation_in_percent_of_the_range() -> None:
    frames, depth = clip()
    alternating = depth + 0.1 * (-1) ** torch.arange(COUNT).view(-1, 1, 1)
    found = flicker(alternating, still_pixels(grey(frames)))
    assert found == pytest.approx(5)  # 0.1 of 2


def test_what_moves_does_not_count_as_flicker() -> None:
    frames, depth = clip(speed=2)
    still = still_pixels(grey(frames))
    assert 0.1 < still.float().mean() < 0.8
    assert flicker(depth, still) == 0


def test_a_clip_in_which_all_moves_has_no_flicker_to_tell() -> None:
    frames = noise()[:, None].expand(-1, 3, -1, -1)
    figures = measure(frames, noise(1), noise(1), borders=[9])
    assert figures.flicker is figures.border is figures.inside is None and figures.still == 0


def test_noise_of_a_camera_leaves_pixels_still() -> None:
    frames, _ = clip()
    still = still_pixels(grey(frames + 0.01 * noise()[:, None]))
    assert len(still) == COUNT - WINDOW + 1 and still.float().mean() > 0.9


def test_a_step_between_chunks_is_told_from_steps_inside() -> None:
    frames, depth = clip()
    depth[9:] += 0.2
    figures = measure(frames, depth, depth, borders=[9])
    assert figures.border == pytest.approx(10) and figures.inside == 0
    figures = measure(frames, depth, depth, borders=[12])
    assert figures.border == 0 and figures.inside == pytest.approx(10 / 19)


def test_contrast_tells_depth_that_is_steady_because_it_is_flat() -> None:
    frames, depth = clip()
    assert measure(frames, 0.1 * depth, depth, [9]).contrast == pytest.approx(
        0.1 * measure(frames, depth, depth, [9]).contrast
    )


# ---- edges ----


def test_depth_whose_edges_are_the_pictures_is_far_above_chance() -> None:
    frames, depth = clip(speed=1)
    assert (edges_on_edges(depth, grey(frames)) or 0) > 3


def test_depth_of_another_picture_is_at_chance_or_below() -> None:
    frames, depth = clip()
    elsewhere = edges_on_edges(depth.roll(28, dims=2), grey(frames + 0.02 * noise()[:, None]))
    assert elsewhere is not None and elsewhere < 1.3
    assert edges_on_edges(noise(3), grey(noise(4)[:, None].expand(-1, 3, -1, -1))) == pytest.approx(
        1, abs=0.05
    )


def test_flat_depth_and_blank_pictures_have_no_edges() -> None:
    frames, depth = clip()
    assert edges_on_edges(torch.zeros_like(depth), grey(frames)) is None
    assert edges_on_edges(depth, torch.zeros_like(depth)) is None


def test_scale_and_shift_are_no_smear() -> None:
    frames, depth = clip(speed=1)
    soft = F.avg_pool2d(depth[:, None], 5, 1, 2)[:, 0]
    assert edges_kept(0.3 * soft + 0.1, soft, grey(frames)) == pytest.approx(1, abs=1e-4)


def test_an_average_over_time_is_a_smear() -> None:
    frames, depth = clip(speed=1)
    soft = F.avg_pool2d(depth[:, None], 5, 1, 2)[:, 0]
    smeared = soft.clone()
    for t in range(1, COUNT):
        smeared[t] = 0.1 * soft[t] + 0.9 * smeared[t - 1]
    assert (edges_kept(smeared, soft, grey(frames)) or 1) < 0.7


def test_where_nothing_moves_nothing_can_smear() -> None:
    frames, depth = clip()
    assert edges_kept(depth, depth, grey(frames)) is None
