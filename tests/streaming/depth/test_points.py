"""Sparse depth: the points keep their values, the rest lies in between, and the work is bounded."""

import pytest
import torch

from streaming.api import MAX_POINTS, DepthSettings, Point
from streaming.depth.points import depth_of_points

SIZE = (36, 64)


def test_points_have_their_values_and_near_is_one() -> None:
    points: list[Point] = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.25), (0.0, 1.0, 0.75), (1.0, 1.0, 1.0)]
    depth = depth_of_points(points, *SIZE, "cpu")
    assert depth.shape == SIZE and depth.dtype == torch.float32
    corners = depth[[0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.tensor([-1, -0.5, 0.5, 1]), atol=1e-3, rtol=0)


def test_nothing_lies_beyond_the_values_given() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(MAX_POINTS, 2, generator=generator).tolist()
    points = [(x, y, 0.4 + 0.2 * (index % 2)) for index, (x, y) in enumerate(places)]
    depth = depth_of_points(points, *SIZE, "cpu")
    assert depth.min() >= -0.2 - 1e-5 and depth.max() <= 0.2 + 1e-5


def test_one_point_fills_the_picture() -> None:
    torch.testing.assert_close(depth_of_points([(0.3, 0.6, 0.75)], *SIZE, "cpu"), torch.full(SIZE, 0.5))


def test_between_two_points_depth_rises_from_one_to_the_other() -> None:
    row = depth_of_points([(0.0, 0.5, 0.0), (1.0, 0.5, 1.0)], 1, 64, "cpu")[0]
    assert (row.diff() >= -1e-6).all() and row[31] < 0 < row[32]


def test_points_at_one_place_are_averaged() -> None:
    depth = depth_of_points([(0.5, 0.5, 0.0), (0.5, 0.5, 1.0)], *SIZE, "cpu")
    torch.testing.assert_close(depth, torch.zeros(SIZE), atol=1e-5, rtol=0)


def test_the_order_of_points_does_not_matter() -> None:
    points: list[Point] = [(0.1, 0.2, 0.3), (0.8, 0.3, 0.9), (0.5, 0.9, 0.1)]
    there, back = (depth_of_points(some, *SIZE, "cpu") for some in (points, points[::-1]))
    torch.testing.assert_close(there, back, atol=1e-5, rtol=0)


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="points: expected at least one"):
        depth_of_points([], *SIZE, "cpu")


# ---- settings ----


@pytest.mark.parametrize("field", ["smoothing", "refinement"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_settings_name_what_is_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"depth {field}: expected 0 \.\.\. 1, got {value}"):
        DepthSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("point", [(0, 0, 1.5), (-1, 0, 0), (0, float("nan"), 0), (0, 0)])
def test_settings_name_the_point_that_is_wrong(point: Point) -> None:
    with pytest.raises(ValueError, match=r"depth points\[1\]: expected \(x, y, value\)"):
        DepthSettings(points=((0, 0, 0), point))


def test_settings_bound_the_number_of_points() -> None:
    DepthSettings(points=((0, 0, 0),) * MAX_POINTS)
    with pytest.raises(ValueError, match="depth points: expected at most 64, got 65"):
        DepthSettings(points=((0, 0, 0),) * (MAX_POINTS + 1))
