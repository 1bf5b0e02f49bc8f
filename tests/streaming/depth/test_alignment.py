"""Laws of alignment: what the picture says is still keeps its depth, within bounds, and nothing runs away."""

import numpy as np
import pytest

from streaming.depth.alignment import Array, Reference, align, fit

SHAPE = (18, 32)


def noise(seed: int, count: int = 1) -> Array:
    coarse = np.random.default_rng(seed).normal(0, 0.3, (count, SHAPE[0] // 3 + 1, SHAPE[1] // 3 + 1))
    return np.kron(coarse, np.ones((3, 3)))[:, : SHAPE[0], : SHAPE[1]].astype(np.float32).clip(-1, 1)


PICTURE, RAMP = noise(0)[0], np.linspace(0, 1, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)


# Depth whose spread is half of its span.
SIDES = np.where(np.arange(SHAPE[1]) // 2 % 2, -1, 1).astype(np.float32) * np.ones(SHAPE, np.float32)
SIZE = SHAPE[0] * SHAPE[1]
KEPT = float(np.exp(-1 / 32))  # of scale and shift from frame to frame
# Four greys, as many cells of each: dark and light change places with darker and lighter, and neither the
# mean nor the spread of a picture changes, nor what is dark and what is light.
_ORDER = np.random.default_rng(11).permutation(SIZE)
_GREYS = np.array([-0.5, -0.3, 0.3, 0.5], np.float32)


def still_cells(count: int) -> np.ndarray:
    cells = np.zeros(SIZE, bool)
    cells[_ORDER[:count]] = True
    return cells.reshape(SHAPE)


def moving(side: int, num_still: int = 0) -> Array:
    """One of two pictures that differ everywhere but in `num_still` cells, a multiple of four."""
    picture = np.empty(SIZE, np.float32)
    picture[_ORDER] = np.tile(_GREYS, SIZE // 4)
    if side:
        picture[_ORDER[num_still:]] = np.tile(_GREYS[[1, 0, 3, 2]], SIZE // 4)[num_still:]
    return picture.reshape(SHAPE)


def still(count: int) -> Array:
    return np.repeat(PICTURE[None], count, axis=0)


def depths(scales: list[float], shifts: list[float]) -> Array:
    return np.stack([s * RAMP + b for s, b in zip(scales, shifts, strict=True)]).astype(np.float32)


def aligned(alignment, depth: Array) -> Array:
    return alignment.scale[:, None, None] * depth + alignment.shift[:, None, None]


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


def test_a_fit_is_half_way_where_the_spread_is_that_of_the_prior() -> None:
    """Half way in the slope that is fitted, which is 1 / scale: of x and y, x is the noisier."""
    x = np.where(np.arange(SHAPE[1]) % 2, -1, 1) * np.ones(SHAPE, np.float32)
    scale, shift = fit(x, 1.5 * x + 2, np.ones_like(x), prior=1.5**2, prior_scale=1.0)
    assert (1 / scale, shift) == pytest.approx(((1 / 1.5 + 1) / 2, 2), rel=1e-3)


@pytest.mark.parametrize("expected", [0.8, 1.0])
def test_a_fit_goes_no_further_than_four_times_what_is_expected(expected: float) -> None:
    x = noise(1)[0]
    for slope, found in ((3.5, 3.5), (10, 4)):
        scale, _ = fit(x, slope * expected * x, np.ones_like(x), prior=0.0, prior_scale=expected)
        assert scale == pytest.approx(found * expected, rel=0.01)


def test_a_fit_without_weight_is_finite() -> None:
    x = noise(1)[0]
    assert np.isfinite(fit(x, x, np.zeros_like(x), prior=0.01, prior_scale=1.0)).all()


# ---- aligning ----


def test_a_first_chunk_begins_with_what_the_estimator_says() -> None:
    alignment = align(still(3), depths([1, 1, 1], [0, 0, 0]), None)
    np.testing.assert_allclose(alignment.scale, 1, atol=1e-3)
    np.testing.assert_allclose(alignment.shift, 0, atol=1e-3)
    assert (
        alignment.still[0].max() == 0
        and alignment.still[1:].min() == 1
        and alignment.cuts == ()
        and alignment.moved < 1e-4
    )


def test_a_wobble_is_taken_back() -> None:
    depth = depths([1, 1.1, 0.9, 1.05], [0, 0.2, -0.1, 0.05])
    alignment = align(still(4), depth, None)
    assert np.abs(aligned(alignment, depth) - RAMP).max() < 0.1 * np.abs(depth - RAMP).max()


def test_where_all_moves_the_estimate_is_kept() -> None:
    pictures = np.stack([moving(t % 2) for t in range(13)])
    before = align(pictures[:1], depths([1], [0]), None).after
    alignment = align(pictures[1:], depths([2] * 12, [1] * 12), before)
    assert alignment.cuts == () and alignment.still.max() < 1e-3
    np.testing.assert_allclose(alignment.scale, 1, atol=1e-3)
    np.testing.assert_allclose(alignment.shift, 0, atol=1e-3)


@pytest.mark.parametrize("num_still", [12, 60, 116, 400])  # of 576: 2, 10, 20 and 70 percent
def test_a_still_area_counts_by_its_size_and_fully_from_a_fifth_on(num_still: int) -> None:
    """A mark on the lens, or a hand that holds still before a moving room, does not carry the room along."""
    pictures = np.stack([moving(0), moving(1, num_still)])
    jump = align(pictures, depths([1, 1], [0, 1]), None)
    assert jump.still[1].mean() == pytest.approx(num_still / SIZE, rel=0.25) and jump.cuts == ()
    confidence = min(1, float(jump.still[1].mean()) / 0.2)
    assert jump.scale[1] == pytest.approx(1, abs=0.01)
    assert jump.shift[1] == pytest.approx(-confidence * KEPT, abs=0.01)
    nearer = align(pictures, depths([1, 1.5], [0, 0]), None)
    whole = align(still(2), depths([1, 1.5], [0, 0]), None)
    told = (nearer.scale[1] ** (1 / KEPT) - 1) / (whole.scale[1] ** (1 / KEPT) - 1)
    assert told == pytest.approx(confidence, abs=0.2 * confidence)
    assert num_still > 12 or nearer.scale[1] == pytest.approx(1, abs=0.05)


def test_scale_and_shift_are_bounded_and_forgotten() -> None:
    depth = depths([1] + [0.1] * 400, [0] + [30] * 400)
    alignment = align(still(401), depth, None)
    assert alignment.scale.min() >= 1 / 1.5 and alignment.scale.max() <= 1.5
    assert np.abs(aligned(alignment, depth)[-1] - depth[-1]).max() < 0.1


@pytest.mark.parametrize(("scale", "bound"), [(0.2, 1.5), (3.0, 1 / 1.5)])
def test_a_frame_is_scaled_by_half_as_much_again_at_most(scale: float, bound: float) -> None:
    alignment = align(still(2), np.stack([SIDES, scale * SIDES]), None)
    assert alignment.scale[1] == pytest.approx(bound**KEPT, rel=1e-3)


@pytest.mark.parametrize("shift", [30.0, -30.0])
def test_a_frame_is_shifted_by_four_of_its_spans_at_most(shift: float) -> None:
    alignment = align(still(2), depths([1, 1], [0, shift]), None)
    assert alignment.shift[1] == pytest.approx(-4 * np.sign(shift), rel=0.01)


def test_without_evidence_scale_and_shift_are_forgotten_by_a_third_in_two_seconds() -> None:
    """By 1 / e in 32 frames; shift counts around the middle of depth, 0.5 here."""
    before = Reference(moving(0), RAMP, scale=1.25, shift=0.5)
    alignment = align(np.stack([moving((t + 1) % 2) for t in range(32)]), depths([1] * 32, [0] * 32), before)
    assert np.log(alignment.scale[-1]) / np.log(1.25) == pytest.approx(np.exp(-1), rel=0.02)
    lifts = alignment.scale * 0.5 + alignment.shift - 0.5
    assert lifts[-1] / (1.25 * 0.5 + 0.5 - 0.5) == pytest.approx(np.exp(-1), rel=0.02)


def test_noise_of_one_frame_is_averaged_away_where_still_and_taken_as_it_is_elsewhere() -> None:
    depth = depths([1, 1], [0, 0])
    depth[1] += np.random.default_rng(0).choice([-0.1, 0.1], SHAPE).astype(np.float32)
    alignment = align(np.stack([moving(0), moving(1, 400)]), depth, None)
    kept = alignment.after.depth - aligned(alignment, depth)[1]
    expected = 0.8 * alignment.still[1] * (RAMP - aligned(alignment, depth)[1])
    np.testing.assert_allclose(kept, expected, atol=1e-5)
    assert np.abs(kept[still_cells(400)]).max() > 0.05 and np.abs(kept[~still_cells(400)]).max() < 1e-3


def test_what_moved_is_counted_where_the_picture_moved() -> None:
    """A mean over cells and frames, the first frame's nothing included."""
    depth = depths([1, 1], [0, 0])
    depth[1][~still_cells(288)] += 0.5
    depth[1][still_cells(288)] += np.where(np.arange(288) % 3, 0, 0.3)  # the estimator's noise: no motion
    alignment = align(np.stack([moving(0), moving(1, 288)]), depth, None)
    assert alignment.moved == pytest.approx(0.5 / 2 / 2, rel=0.05)


def test_a_spread_of_depth_that_is_small_for_its_span_keeps_the_scale() -> None:
    """Half fitted, half kept where the spread is 0.15 of the span."""
    alignment = align(still(2), np.stack([SIDES, 1.2 * SIDES]), None)
    prior = (0.15 * 2 * 1.2) ** 2
    assert alignment.scale[1] == pytest.approx(((1 + prior) / (1.2 + prior)) ** KEPT, abs=0.003)


def test_no_bias_accumulates() -> None:
    """Noise in every frame: plain regression would shrink the scale each time, down to its bound."""
    depth = depths([1] * 2000, [0] * 2000) + 0.1 * noise(3, 2000)
    alignment = align(still(2000), depth, None)
    assert 0.85 < alignment.scale[-200:].mean() < 1.15 and abs(alignment.shift[-200:].mean()) < 0.1


# ---- what the picture says ----


@pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (1.4, 0.1), (1.0, -0.3)])
def test_exposure_is_not_motion(gain: float, offset: float) -> None:
    pictures = np.stack([PICTURE, gain * PICTURE + offset]).astype(np.float32)
    alignment = align(pictures, depths([1, 1.2], [0, 0.1]), None)
    assert alignment.still[1].mean() > 0.95 and alignment.cuts == ()
    assert alignment.gain[1] * gain == pytest.approx(1, abs=0.05)


def test_motion_does_not_change_the_gain() -> None:
    moved = still(2)
    moved[1, :, :10] = noise(7)[0, :, :10]
    alignment = align(moved, depths([1, 1], [0, 0]), None)
    assert alignment.gain[1] == pytest.approx(1, abs=0.1) and abs(alignment.offset[1]) < 0.03
    assert alignment.still[1, :, 10:].mean() > 0.9 > 0.6 > alignment.still[1, :, :10].mean()


def test_a_cut_is_seen_and_begins_afresh() -> None:
    pictures = np.concatenate([still(3), np.repeat(noise(9), 3, axis=0)])
    depth = depths([1, 1.1, 1, 0.5, 0.5, 0.5], [0, 0, 0, 3, 3, 3])
    alignment = align(pictures, depth, None)
    assert alignment.cuts == (3,)
    assert alignment.scale[3] == 1 and alignment.shift[3] == 0 and alignment.still[3].max() == 0
    np.testing.assert_allclose(aligned(alignment, depth)[3:], depth[3:], atol=0.02)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_blank_pictures_are_alike(level: float) -> None:
    blank = np.full((2, *SHAPE), level, np.float32)
    alignment = align(blank, depths([1, 1.1], [0, 0.1]), None)
    assert alignment.cuts == () and alignment.still[1].min() > 0.9


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


def test_a_difference_of_six_greys_is_still_by_a_third() -> None:
    """By exp(-1) at 0.05, of [-1, 1]."""
    pictures = np.stack([moving(0), moving(0)])
    brighter = still_cells(48)
    pictures[1][brighter] += np.where(np.arange(48) % 2, 0.05, -0.05).astype(np.float32)
    alignment = align(pictures, depths([1, 1], [0, 0]), None)
    assert alignment.still[1][brighter].mean() == pytest.approx(np.exp(-1), abs=0.02)
    assert alignment.still[1][~brighter].min() > 0.99


def grain(seed: int) -> Array:
    picture = np.random.default_rng(seed).normal(0, 1, SHAPE)
    return (0.3 * (picture - picture.mean()) / picture.std()).astype(np.float32)


@pytest.mark.parametrize(("alike", "is_cut"), [(0.2, True), (0.45, False)])
def test_a_cut_is_where_less_than_a_third_is_alike(alike: float, is_cut: bool) -> None:
    one, other = grain(1), grain(2)
    other = other - one * (one * other).mean() / np.square(one).mean()
    pictures = np.stack([one, alike * one + np.sqrt(1 - alike**2) * other]).astype(np.float32)
    assert (align(pictures, depths([1, 1], [0, 0]), None).cuts == (1,)) == is_cut


@pytest.mark.parametrize(("share", "is_cut"), [(0.18, True), (0.4, False)])
def test_a_picture_with_a_quarter_still_is_no_cut_whatever_the_rest_does(share: float, is_cut: bool) -> None:
    pictures = np.stack([grain(1), -grain(1)])
    kept = still_cells(round(share * SIZE))
    pictures[1][kept] = pictures[0][kept]
    assert (align(pictures, depths([1, 1], [0, 0]), None).cuts == (1,)) == is_cut


@pytest.mark.parametrize(("levels", "gain"), [((1, 0.2), 2.0), ((0.2, 1), 0.5)])
def test_brightness_is_made_up_for_by_a_factor_of_two_at_most(levels: tuple, gain: float) -> None:
    pictures = np.stack([level * PICTURE for level in levels]).astype(np.float32)
    assert align(pictures, depths([1, 1], [0, 0]), None).gain[1] == gain


def test_in_a_picture_that_shows_nothing_brightness_is_hardly_made_up_for() -> None:
    """The grain of a camera in the dark: three times as much is no exposure."""
    pictures = np.stack([grain(1) / 60, grain(1) / 20])
    assert align(pictures, depths([1, 1], [0, 0]), None).gain[1] == pytest.approx(0.91, abs=0.04)
