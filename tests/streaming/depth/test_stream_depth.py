"""Laws of a stream's depth: it holds still, follows the scene, and remembers what it was told to keep."""

import math
from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor

from streaming.api import DepthSettings
from streaming.depth.range import DepthRange
from streaming.depth.stream_depth import Depth, StreamDepth
from tests.streaming.depth_scenes import (
    CHUNKS,
    HEIGHT,
    WIDTH,
    Reads,
    another_scene,
    flicker,
    scene,
    truth,
    wobble,
)

WALL = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
WALL[:, 48:] = True
FIXED = DepthRange(3.0, 7.0, is_fixed=True)


def live(estimator: Reads | None = None) -> StreamDepth:
    return StreamDepth(estimator or Reads(), "cpu", HEIGHT, WIDTH)


def stream(
    depth: StreamDepth,
    frames: Tensor,
    settings: DepthSettings | None = None,
    chunks: tuple[int, ...] = CHUNKS,
) -> list[Depth]:
    """Every chunk of `frames`, kept."""
    results = []
    for start, end in pairwise(accumulate((0, *chunks))):
        results.append(depth(frames[start:end], settings or DepthSettings()))
        depth.keep(results[-1])
    return results


def values(results: list[Depth]) -> Tensor:
    return torch.cat([result.values for result in results])


def with_a_form(frames: Tensor) -> Tensor:
    """A picture painted over `frames`, with a form that the camera does not see."""
    painted = frames.clone()
    painted[:, 2, 4:12, 50:60] += 0.4
    return painted


# ---- what comes out ----


def test_depth_comes_in_minus_one_to_one_with_near_above() -> None:
    depth = live()(scene(9), DepthSettings())
    assert depth.values.shape == (9, HEIGHT, WIDTH) and depth.values.dtype == torch.float32
    assert -1 <= depth.values.min() < -0.99 and 0.99 < depth.values.max() <= 1
    assert depth.values[0, 24, 20] > 0.9 > depth.values[0, 2, 60]


@pytest.mark.parametrize("shape", [(9, 3, 8, 8), (3, HEIGHT, WIDTH), (9, 1, HEIGHT, WIDTH)])
def test_frames_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames: expected \(T, 3, 48, 64\), got"):
        live()(torch.zeros(shape), DepthSettings())
    with pytest.raises(ValueError, match=r"generated: expected \(T, 3, 48, 64\), got"):
        live()(scene(9), DepthSettings(refinement=1), torch.zeros(shape))


# ---- holding still ----


def test_an_estimators_wobble_does_not_show_where_the_picture_is_still() -> None:
    frames = scene(sum(CHUNKS), speed=0.5)
    steady = values(stream(live(Reads(wobble)), frames))
    before, by_range = DepthRange(), []
    for start, end in pairwise(accumulate((0, *CHUNKS))):
        chunk, before = before.normalise(Reads(wobble).estimate(frames[start:end]))
        by_range.append(chunk)
    assert flicker(steady, WALL) < 0.2 * flicker(torch.cat(by_range), WALL)


@pytest.mark.parametrize("sudden", [False, True], ids=["slow", "sudden"])
def test_a_change_of_brightness_does_not_pump_the_range(sudden: bool) -> None:
    def by_brightness(depth: Tensor, numbers: Tensor) -> Tensor:
        return depth * light(numbers).view(-1, 1, 1)

    def light(numbers: Tensor) -> Tensor:
        if sudden:
            return torch.where(numbers < 20, 1.0, 1.25)
        return 1 + 0.25 * torch.sin(numbers / 3)

    frames = scene(sum(CHUNKS))
    dimmed = frames.clone()
    dimmed[:, 0] = (frames[:, 0] + 1) * light(torch.arange(len(frames))).view(-1, 1, 1) - 1
    plain = values(stream(live(), frames))
    shown = values(stream(live(Reads(by_brightness)), dimmed))
    assert (shown - plain).abs().mean() < 0.05
    assert shown.diff(dim=0).abs().mean((1, 2)).max() < 0.06


def test_what_comes_nearer_comes_nearer() -> None:
    def approach(depth: Tensor, numbers: Tensor) -> Tensor:
        near = depth > 6
        return depth + near * 0.05 * numbers.view(-1, 1, 1)

    frames = scene(12, speed=1)
    shown = live(Reads(approach, FIXED))(frames, DepthSettings()).values
    disc = [shown[t, 24, 20 + t] for t in range(12)]
    assert all(later >= earlier for earlier, later in pairwise(disc))


def test_one_range_serves_every_frame_of_a_chunk() -> None:
    shown = live()(scene(12, speed=1), DepthSettings()).values
    estimate = Reads().estimate(scene(12, speed=1))
    inside = shown.abs() < 1
    slope = torch.stack([estimate[inside], torch.ones(int(inside.sum()))], dim=1)
    fitted = slope @ torch.linalg.lstsq(slope, shown[inside][:, None]).solution
    # One scale and shift for all frames, but for what alignment found in frames without a wobble.
    assert (fitted[:, 0] - shown[inside]).abs().mean() < 0.01


# ---- following the scene ----


def test_after_a_cut_between_chunks_the_stream_is_as_new() -> None:
    depth = live()
    stream(depth, scene(21), chunks=(9, 12))
    other = another_scene(12)
    assert torch.equal(depth(other, DepthSettings()).values, live()(other, DepthSettings()).values)


def test_after_a_cut_inside_a_chunk_its_frames_are_as_new() -> None:
    depth = live()
    stream(depth, scene(9), chunks=(9,))
    other = another_scene(8)
    both = torch.cat([scene(4, first=9), other])
    shown = depth(both, DepthSettings(smoothing=1)).values
    alone = live()(other, DepthSettings(smoothing=1)).values
    torch.testing.assert_close(shown[4:], alone, atol=1e-5, rtol=0)
    depth.reset()
    stream(depth, scene(9), chunks=(9,))
    torch.testing.assert_close(shown[:4], depth(both[:4], DepthSettings()).values, atol=0.1, rtol=0)


def test_a_black_and_a_white_flash_are_no_cut_that_breaks_anything() -> None:
    frames = scene(33)
    frames[12, 0], frames[20, 0] = -1.0, 1.0
    shown = values(stream(live(), frames, chunks=(9, 12, 12)))
    plain = values(stream(live(), scene(33), chunks=(9, 12, 12)))
    assert (shown - plain).abs().mean() < 0.02


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_lasting_change_of_the_estimators_scale_is_forgotten(scale: float) -> None:
    """A still picture whose depth is judged anew for good: the range of before must not stay for ever."""

    def changes(depth: Tensor, numbers: Tensor) -> Tensor:
        return torch.where(numbers.view(-1, 1, 1) < 9, depth, scale * depth + 1)

    frames = scene(9 + 20 * 12)
    shown = values(stream(live(Reads(changes)), frames, chunks=(9, *[12] * 20)))
    torch.testing.assert_close(shown[-1], shown[0], atol=0.1, rtol=0)


def test_nothing_drifts_in_a_long_stream() -> None:
    frames = scene(996, speed=0.03)
    shown = values(stream(live(Reads(wobble)), frames, chunks=(12,) * 83))
    plain = live()(frames[-12:], DepthSettings()).values
    assert (shown[-12:] - plain).abs().mean() < 0.1


# ---- motion ----


def test_motion_is_what_moves_and_not_what_flickers() -> None:
    still = stream(live(Reads(wobble)), scene(33), chunks=(9, 12, 12))
    moving = stream(live(Reads(wobble)), scene(33, speed=1), chunks=(9, 12, 12))
    faster = stream(live(Reads(wobble)), scene(33, speed=2), chunks=(9, 12, 12))
    for a, b, c in zip(still, moving, faster, strict=True):
        assert 0 <= a.motion < 0.2 * b.motion < 0.2 * c.motion <= 0.4


def test_a_cut_is_no_motion() -> None:
    depth = live()
    stream(depth, scene(9), chunks=(9,))
    assert depth(another_scene(12), DepthSettings()).motion < 1e-6


# ---- what is remembered ----


def test_a_chunk_that_is_not_kept_leaves_no_trace() -> None:
    frames, settings = scene(33, speed=1), DepthSettings(smoothing=0.8, refinement=1)
    plain, disturbed = live(Reads(wobble)), live(Reads(wobble))
    for start, end in ((0, 9), (9, 21), (21, 33)):
        generated = frames[start:end].flip(0)
        disturbed(scene(12, seed=50) * 0.3, settings, generated)  # fails later, so to speak
        disturbed(scene(12, seed=60), DepthSettings(points=((0, 0, 1),)), starts_over=True)
        expected = plain(frames[start:end], settings, generated)
        found = disturbed(frames[start:end], settings, generated)
        assert torch.equal(found.values, expected.values) and found.motion == expected.motion
        plain.keep(expected)
        disturbed.keep(found)
    assert plain.non_finite == disturbed.non_finite


def test_reset_equals_fresh_and_so_does_starting_over() -> None:
    frames, settings = scene(9, seed=3), DepthSettings(smoothing=1, refinement=1)
    expected = live(Reads(wobble))(frames, settings, frames)
    used = live(Reads(wobble))
    stream(used, scene(21, speed=1), settings, chunks=(9, 12))
    again = used(frames, settings, frames, starts_over=True)
    used.reset()
    for found in (again, used(frames, settings, frames)):
        assert torch.equal(found.values, expected.values) and found.motion == expected.motion


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
@pytest.mark.parametrize("spoil", [None, wobble], ids=["exact", "wobbling"])
def test_a_stream_cut_in_chunks_equals_one_long_run(smoothing: float, spoil) -> None:
    """By frames, all but the range; so with a range that is known it holds for everything."""
    frames, settings = scene(33, speed=0.7), DepthSettings(smoothing=smoothing)

    class Settled(DepthRange):
        def follow(self, depth: Tensor) -> DepthRange:
            return self

    known = Settled(3.0, 7.0)
    together = values(stream(live(Reads(spoil, known)), frames, settings, chunks=(33,)))
    for chunks in ((9, 12, 12), (1,) * 33, (20, 1, 12)):
        cut = values(stream(live(Reads(spoil, known)), frames, settings, chunks=chunks))
        # The library sums another batch in another order: 2e-6 on one processor, 3.4e-6 on another.
        torch.testing.assert_close(cut, together, atol=1e-5, rtol=0)


def test_streams_of_one_estimator_do_not_touch_each_other() -> None:
    estimator, frames, other = Reads(wobble), scene(21, speed=1), scene(21, seed=9, speed=2)
    alone = values(stream(live(estimator), frames, chunks=(9, 12)))
    one, two = live(estimator), live(estimator)
    found = []
    for start, end in ((0, 9), (9, 21)):
        for depth, pictures in ((one, frames), (two, other)):
            result = depth(pictures[start:end], DepthSettings())
            depth.keep(result)
            found += [result] if depth is one else []
    assert torch.equal(values(found), alone)


def test_a_known_range_and_scale_are_left_alone() -> None:
    """Edges have a scale of their own; a wobble in it would be what the picture does."""
    shown = values(stream(live(Reads(wobble, FIXED)), scene(21), chunks=(9, 12)))
    estimate = Reads(wobble).estimate(scene(21))
    torch.testing.assert_close(shown, FIXED.stretch(estimate))


# ---- bad values ----


def test_bad_values_are_replaced_and_counted() -> None:
    def breaks(depth: Tensor, numbers: Tensor) -> Tensor:
        depth = depth.clone()
        depth[0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
        return depth

    depth = live(Reads(breaks))
    expected = stream(live(), scene(33, speed=1), DepthSettings(smoothing=0.5), chunks=(9, 12, 12))
    found = stream(depth, scene(33, speed=1), DepthSettings(smoothing=0.5), chunks=(9, 12, 12))
    assert [result.non_finite for result in found] == [3, 3, 3] and depth.non_finite == 9
    assert values(found).isfinite().all() and values(found).abs().max() <= 1
    assert (values(found) - values(expected)).abs().mean() < 0.01
    depth.reset()
    assert depth.non_finite == 9  # a counter


def test_a_chunk_of_nothing_but_bad_values_is_middling_and_forgotten() -> None:
    def breaks(depth: Tensor, numbers: Tensor) -> Tensor:
        return depth if numbers[0] != 9 else torch.full_like(depth, math.nan)

    results = stream(live(Reads(breaks)), scene(33), chunks=(9, 12, 12))
    assert results[1].values.eq(0).all() and results[1].motion == 0
    assert results[1].non_finite == 12 * HEIGHT * WIDTH
    torch.testing.assert_close(results[2].values[-1], results[0].values[-1], atol=0.02, rtol=0)


def test_flat_depth_is_far_and_still() -> None:
    for result in stream(live(Reads(lambda depth, _: torch.ones_like(depth))), scene(21), chunks=(9, 12)):
        assert result.values.eq(-1).all() and result.motion == 0


# ---- settings ----


def test_smoothing_quietens_what_flickers_pixel_by_pixel() -> None:
    def noise(depth: Tensor, numbers: Tensor) -> Tensor:
        return depth + 0.3 * torch.randn(
            depth.shape, generator=torch.Generator().manual_seed(int(numbers[0]))
        )

    frames = scene(sum(CHUNKS), speed=0.5)
    rough, half, smooth = (
        values(stream(live(Reads(noise, FIXED)), frames, DepthSettings(smoothing=strength)))[9:]
        for strength in (0.0, 0.5, 1.0)
    )
    assert flicker(smooth, WALL) < 0.5 * flicker(rough, WALL)
    assert flicker(smooth, WALL) < flicker(half, WALL) < flicker(rough, WALL)


def test_smoothing_may_be_switched_on_at_any_chunk() -> None:
    depth = live()
    frames = scene(33, speed=1)
    results = [depth(frames[:9], DepthSettings())]
    depth.keep(results[0])
    found = depth(frames[9:21], DepthSettings(smoothing=1)).values
    plain = depth(frames[9:21], DepthSettings()).values
    assert (found - plain).abs().mean() < 0.05


def test_points_replace_the_camera_and_cost_no_estimate() -> None:
    estimator = Reads()
    depth = live(estimator)
    result = depth(scene(12), DepthSettings(points=((0.0, 0.5, 0.0), (1.0, 0.5, 1.0))))
    assert estimator.calls == 0 and result.motion == 0
    assert result.values.shape == (12, HEIGHT, WIDTH)
    assert result.values[5, 24, 0] == pytest.approx(-1, abs=1e-3)
    assert result.values[5, 24, -1] == pytest.approx(1, abs=1e-3)


def test_the_camera_comes_back_after_points_as_it_was() -> None:
    depth, plain = live(), live()
    for one in (depth, plain):
        one.keep(one(scene(9), DepthSettings()))
    depth.keep(depth(scene(12), DepthSettings(points=((0.5, 0.5, 1.0),))))
    assert torch.equal(depth(scene(12), DepthSettings()).values, plain(scene(12), DepthSettings()).values)


def test_a_picture_painted_before_points_refines_nothing_after_them() -> None:
    frames = scene(21, speed=0)
    painted = with_a_form(frames[:9])
    depth = live()
    depth.keep(depth(frames[:9], DepthSettings()))
    depth.keep(depth(frames[:12], DepthSettings(points=((0.5, 0.5, 1.0),))))
    plain = depth(frames[9:], DepthSettings(), painted).values
    assert torch.equal(depth(frames[9:], DepthSettings(refinement=1), painted).values, plain)


def test_refinement_brings_painted_forms_back_where_the_camera_is_still() -> None:
    frames = scene(21, speed=0)
    painted = with_a_form(frames[:9])
    depth = live()
    depth.keep(depth(frames[:9], DepthSettings()))
    plain = depth(frames[9:], DepthSettings(), painted).values
    refined = depth(frames[9:], DepthSettings(refinement=1), painted).values
    form, rest = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool), WALL.clone()
    form[5:11, 51:59], rest[2:14, 48:62] = True, False
    assert (refined - plain)[:, form].mean() > 0.1
    assert (refined - plain)[:, rest].abs().mean() < 0.03


def test_what_the_camera_sees_is_not_added_up_by_refinement() -> None:
    """Chunk after chunk with the same painted form: it stays as strong as it was."""
    frames = scene(9 + 10 * 12)
    painted = with_a_form(frames[:12])
    depth, heights = live(), []
    depth.keep(depth(frames[:9], DepthSettings()))
    for start in range(9, len(frames), 12):
        result = depth(frames[start : start + 12], DepthSettings(refinement=1), painted)
        depth.keep(result)
        heights.append(result.values[:, 6:10, 52:58].mean())
    assert max(heights) - min(heights) < 0.02


def test_refinement_without_a_picture_or_without_a_past_is_no_refinement() -> None:
    asked = DepthSettings(refinement=1)
    frames, depth = scene(21, speed=1), live()
    first = depth(frames[:9], asked, scene(9, seed=7))
    assert torch.equal(first.values, live()(frames[:9], DepthSettings()).values)
    depth.keep(first)
    assert torch.equal(depth(frames[9:], asked).values, depth(frames[9:], DepthSettings()).values)


def test_depth_of_the_frames_is_what_was_there() -> None:
    """All of it together, with a good estimator, changes nothing worth mentioning."""
    frames = scene(sum(CHUNKS), speed=1)
    found = values(stream(live(), frames, DepthSettings(smoothing=1)))
    expected = FIXED.stretch(5 + 2 * truth(frames))
    for frame, known in zip(found, expected, strict=True):
        together = torch.corrcoef(torch.stack([frame.flatten(), known.flatten()]))[0, 1]
        assert together > 0.985
