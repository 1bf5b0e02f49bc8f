"""Laws of alignment: what the picture says is still keeps its depth, within bounds, and nothing runs away."""

import numpy as np
import pytest

from streaming.depth_alignment import Array, Reference, align, fit

SHAPE = (18, 32)


def noise(seed: int, count: int = 1) -> Array:
    coarse = np.random.default_rng(seed).normal(0, 0.3, (count, SHAPE[0] // 3 + 1, SHAPE[1] // 3 + 1))
    return np.kron(coarse, np.ones((3, 3)))[:, : SHAPE[0], : SHAPE[1]].astype(np.float32).clip(-1, 1)


PICTURE, RAMP = noise(0)[0], np.linspace(0, 1, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)


def still(count: int) -> Array:
    return np.repeat(PICTURE[None], count, axis=0)


def depths(scales: list[float], shifts: list[float]) -> Array:
    return np.stack([s * RAMP + b for s, b in zip(scales, shifts, strict=True)]).astype(np.float32)


def aligned(steps, depth: Array) -> Array:
    return steps.scale[:, None, None] * depth + steps.shift[:, None, None]


# ---- fitting ----


def test_a_fit_finds_scale_and_shift() -> None:
    x = noise(1)[0]
    scale, shift = fit(x, 1.2 * x - 0.3, np.ones_like(x), prior=0.0, prior_scale=1.0)
    assert (scale, shift) == pytest.approx((1.2, -0.3), abs=1e-3)


def test_a_fit_passes_over_what_does_not_agree() -> None:
    x = noise(1)[0]
    y = 1.2 * x - 0.3
    y[:, :6] = 4  # a fifth of the picture: someone walked in
    scale, shift = fit(x, y, np.ones_like(x), prior=0.0, prior_scale=1.0)
    assert (scale, shift) == pytest.approx((1.2, -0.3), abs=0.05)


def test_a_fit_without_spread_keeps_the_scale_it_had() -> None:
    x = np.full(SHAPE, 2, np.float32)
    scale, shift = fit(x, x + 1, np.ones_like(x), prior=0.01, prior_scale=0.8)
    assert scale == pytest.approx(0.8) and 0.8 * 2 + shift == pytest.approx(3)


def test_a_fit_without_weight_is_finite() -> None:
    x = noise(1)[0]
    assert np.isfinite(fit(x, x, np.zeros_like(x), prior=0.01, prior_scale=1.0)).all()


# ---- aligning ----


def test_a_first_chunk_begins_with_what_the_estimator_says() -> None:
    steps = align(still(3), depths([1, 1, 1], [0, 0, 0]), None)
    np.testing.assert_allclose(steps.scale, 1, atol=1e-3)
    np.testing.assert_allclose(steps.shift, 0, atol=1e-3)
    assert (
        steps.still[0].max() == 0 and steps.still[1:].min() == 1 and steps.cuts == () and steps.moved < 1e-4
    )


def test_a_wobble_is_taken_back() -> None:
    depth = depths([1, 1.1, 0.9, 1.05], [0, 0.2, -0.1, 0.05])
    steps = align(still(4), depth, None)
    assert np.abs(aligned(steps, depth) - RAMP).max() < 0.1 * np.abs(depth - RAMP).max()


def test_where_all_moves_the_estimator_is_believed() -> None:
    pictures = noise(50, 12)
    before = align(still(1), depths([1], [0]), None).after
    steps = align(pictures, depths([2] * 12, [1] * 12), before)
    np.testing.assert_allclose(steps.scale, 1, atol=0.2)


def test_scale_and_shift_are_bounded_and_forgotten() -> None:
    depth = depths([1] + [0.1] * 400, [0] + [30] * 400)
    steps = align(still(401), depth, None)
    assert steps.scale.min() >= 1 / 1.5 and steps.scale.max() <= 1.5
    assert np.abs(steps.shift[1]) <= 30
    assert np.abs(aligned(steps, depth)[-1] - depth[-1]).max() < 0.1


def test_no_bias_accumulates() -> None:
    """Noise in every frame: plain regression would shrink the scale each time, down to its bound."""
    depth = depths([1] * 2000, [0] * 2000) + 0.1 * noise(3, 2000)
    steps = align(still(2000), depth, None)
    assert 0.85 < steps.scale[-200:].mean() < 1.15 and abs(steps.shift[-200:].mean()) < 0.1


# ---- what the picture says ----


@pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (1.4, 0.1), (1.0, -0.3)])
def test_exposure_is_not_motion(gain: float, offset: float) -> None:
    pictures = np.stack([PICTURE, gain * PICTURE + offset]).astype(np.float32)
    steps = align(pictures, depths([1, 1.2], [0, 0.1]), None)
    assert steps.still[1].mean() > 0.95 and steps.cuts == ()
    assert steps.gain[1] * gain == pytest.approx(1, abs=0.05)


def test_motion_does_not_change_the_gain() -> None:
    moved = still(2)
    moved[1, :, :10] = noise(7)[0, :, :10]
    steps = align(moved, depths([1, 1], [0, 0]), None)
    assert steps.gain[1] == pytest.approx(1, abs=0.1) and abs(steps.offset[1]) < 0.03
    assert steps.still[1, :, 10:].mean() > 0.9 > 0.6 > steps.still[1, :, :10].mean()


def test_a_cut_is_seen_and_begins_afresh() -> None:
    pictures = np.concatenate([still(3), np.repeat(noise(9), 3, axis=0)])
    depth = depths([1, 1.1, 1, 0.5, 0.5, 0.5], [0, 0, 0, 3, 3, 3])
    steps = align(pictures, depth, None)
    assert steps.cuts == (3,)
    assert steps.scale[3] == 1 and steps.shift[3] == 0 and steps.still[3].max() == 0
    np.testing.assert_allclose(aligned(steps, depth)[3:], depth[3:], atol=0.02)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_blank_pictures_are_alike(level: float) -> None:
    blank = np.full((2, *SHAPE), level, np.float32)
    steps = align(blank, depths([1, 1.1], [0, 0.1]), None)
    assert steps.cuts == () and steps.still[1].min() > 0.9


def test_frame_by_frame_equals_all_at_once() -> None:
    pictures = still(8) + 0.05 * noise(4, 8)
    depth = depths(list(np.linspace(1, 1.3, 8)), list(np.linspace(0, 0.4, 8)))
    together = align(pictures, depth, None)
    before: Reference | None = None
    for t in range(8):
        alone = align(pictures[t : t + 1], depth[t : t + 1], before)
        before = alone.after
        assert alone.scale[0] == pytest.approx(together.scale[t], abs=1e-5)
        assert alone.shift[0] == pytest.approx(together.shift[t], abs=1e-5)


def test_a_reference_is_a_value() -> None:
    before = align(still(2), depths([1, 1], [0, 0]), None).after
    kept = before.picture.copy(), before.depth.copy()
    first = align(still(3) + 0.02, depths([1, 1.2, 1], [0, 1, 0]), before)
    again = align(still(3) + 0.02, depths([1, 1.2, 1], [0, 1, 0]), before)
    assert (first.scale == again.scale).all() and (first.shift == again.shift).all()
    assert (before.picture == kept[0]).all() and (before.depth == kept[1]).all()
