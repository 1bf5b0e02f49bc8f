"""The range of a stream follows the scene, and neither pumps nor breaks."""

import math

import numpy as np
import pytest
import torch

from streaming.depth.range import DepthRange


def scene(count: int = 12) -> torch.Tensor:
    """Smooth depth from 2 to 10, slightly moving; (T, 24, 32)."""
    ramp = torch.linspace(2, 10, 24 * 32).view(24, 32)
    return torch.stack([ramp.roll(index, dims=1) for index in range(count)])


def test_the_first_chunk_uses_the_whole_range():
    control, after = DepthRange().normalise(scene(9))
    assert control.min() == -1 and control.max() == 1
    assert abs(control.mean()) < 0.05
    assert after.far == pytest.approx(2.16, abs=0.1) and after.near == pytest.approx(9.84, abs=0.1)


def test_nearer_is_larger():
    control, _ = DepthRange().normalise(scene(1))
    order = scene(1).flatten().argsort()
    assert (control.flatten()[order].diff() >= 0).all()


@pytest.mark.parametrize("scale", [0.01, 0.5, 40.0])
def test_a_lasting_change_of_scale_is_forgotten_within_seconds(scale):
    before, depth_range = DepthRange().normalise(scene())
    for _ in range(16):
        after, depth_range = depth_range.normalise(scene() * scale)
    torch.testing.assert_close(after, before, atol=0.01, rtol=0)


def test_a_flicker_of_scale_is_damped():
    depth_range = DepthRange()
    levels, alone = [], []
    for scale in [1.0, 1.1, 0.9, 1.1, 0.9, 1.1, 0.9]:
        depth = scene() + 8 * (scale - 1)  # the whole scene nearer, then farther
        control, depth_range = depth_range.normalise(depth)
        levels.append(depth_range.far)
        alone.append(DepthRange().normalise(depth)[1].far)
    assert np.ptp(levels[2:]) < 0.55 * np.ptp(alone[2:])


def test_one_range_serves_every_frame_of_a_chunk():
    depth = scene(1).expand(12, -1, -1) * torch.linspace(1, 1.2, 12).view(12, 1, 1)
    control, _ = DepthRange().normalise(depth)
    middle = control[:, 12, 16]
    assert (
        middle.diff() > 0
    ).all()  # what comes nearer in the chunk gets nearer: frames are not stretched one by one


def test_one_bad_frame_does_not_move_the_range():
    depth = scene()
    expected, range_without = DepthRange().normalise(depth)
    spoiled = depth.clone()
    spoiled[5] *= 100
    control, after = DepthRange().normalise(spoiled)
    assert after.near == pytest.approx(range_without.near, rel=0.02)
    others = [index for index in range(12) if index != 5]
    torch.testing.assert_close(control[others], expected[others], atol=0.05, rtol=0)


def test_a_few_wild_pixels_do_not_move_the_range():
    depth = scene()
    _, expected = DepthRange().normalise(depth)
    depth[:, 0, :5] = 1e6
    _, after = DepthRange().normalise(depth)
    assert after.near == pytest.approx(expected.near, rel=0.03)


@pytest.mark.parametrize("value", [0.0, 5.0, 1e-12])
def test_a_constant_map_is_far_not_nan(value):
    control, _ = DepthRange().normalise(torch.full((2, 8, 8), value))
    assert control.eq(-1).all()


def test_rounding_noise_of_a_flat_map_is_not_stretched():
    control, _ = DepthRange().normalise(5 + 1e-4 * torch.rand(2, 8, 8))
    assert control.eq(-1).all()


def test_bad_values_are_replaced_and_kept_out_of_the_range():
    depth = scene()
    _, expected = DepthRange().normalise(depth)
    depth[0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    control, after = DepthRange().normalise(depth)
    assert control.isfinite().all() and control[0, 0, :3].tolist() == [0, 1, -1]
    assert after.far == pytest.approx(expected.far, rel=0.01) and after.near == pytest.approx(
        expected.near, rel=0.01
    )


def test_a_chunk_of_nothing_but_bad_values_leaves_the_range_as_it_was():
    nothing = torch.full((12, 24, 32), math.nan)
    control, after = DepthRange().normalise(nothing)
    assert control.eq(0).all() and math.isnan(after.far)
    control, after = after.normalise(scene())
    assert (control.min(), control.max()) == (-1, 1)
    assert after.normalise(nothing)[1].near == after.near


def test_a_range_is_a_value_that_normalising_does_not_change():
    start = DepthRange(0.0, 1.0)
    first, _ = start.normalise(scene())
    again, _ = start.normalise(scene())
    assert torch.equal(first, again) and start == DepthRange(0.0, 1.0)


def test_a_fixed_range_stays():
    _, after = DepthRange(0.0, 1.0, is_fixed=True).normalise(scene())
    assert (after.far, after.near, after.is_fixed) == (0, 1, True)


def test_law_a_frame_without_any_value_counts_for_nothing():
    """Frames that are all finite are taken at once, others one by one: to the same range, bit for bit."""
    depth = torch.randn(11, 72, 130, generator=torch.Generator().manual_seed(0))
    bad = torch.full((1, 72, 130), math.nan)
    assert DepthRange().follow(torch.cat([depth[:5], bad, depth[5:]])) == DepthRange().follow(depth)
