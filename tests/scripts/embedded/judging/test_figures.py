import math

import pytest
import torch

from scripts.embedded.judging import figures


def checkers() -> torch.Tensor:
    """(2, 3, 16, 16) of 0 and 1."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    return ((x // 2 + y // 2) % 2).float().expand(2, 3, 16, 16)


def test_sharpness_is_one_for_the_truth_and_falls_with_contrast_squared() -> None:
    truth = checkers()
    assert figures.sharpness(truth, truth) == pytest.approx(1)
    assert figures.sharpness(0.5 * truth, truth) == pytest.approx(0.25)
    assert figures.sharpness(torch.full_like(truth, 0.5), truth) == pytest.approx(0, abs=1e-9)


def test_detail_is_not_bought_with_noise() -> None:
    truth = checkers()
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
    assert figures.sharpness(noise, truth) > 0.15
    assert abs(figures.detail(noise, truth)) < 0.1
    assert figures.detail(0.5 * truth, truth) == pytest.approx(0.5)


def test_psnr_of_a_tenth_is_20_db() -> None:
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert figures.psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-4)
    assert figures.psnr(truth, truth) == pytest.approx(100)


def test_pearson_is_by_frame_and_ignores_scale() -> None:
    ramp = torch.arange(12.0).view(1, 3, 4)
    a, b = torch.cat([ramp, ramp, ramp]), torch.cat([3 * ramp + 7, -ramp, torch.ones_like(ramp)])
    assert figures.pearson(a, b).tolist() == pytest.approx([1, -1, 0])


def test_relief_counts_local_forms_only() -> None:
    depth = torch.zeros(1, 64, 64)
    depth[:, ::4, ::4] = 1
    assert figures.relief(depth, depth) == pytest.approx(1)
    assert figures.relief(1.5 * depth + 0.2, depth) == pytest.approx(1.5)
    assert figures.relief(torch.full_like(depth, 0.3), depth) == pytest.approx(0, abs=1e-9)


def steps(*changes: float) -> torch.Tensor:
    """Flat frames, each brighter by one of `changes` than the one before."""
    levels = torch.tensor([0.0, *changes]).cumsum(0)
    return levels.view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_seam_is_the_change_between_chunks_over_that_inside() -> None:
    assert figures.seam(steps(0.1, 0.1, 0.3, 0.1, 0.1), [3]) == pytest.approx(3)
    assert figures.seam(steps(0.1, 0.2, 0.1, 0.4, 0.1), [2, 4]) == pytest.approx(3)


def test_changes_that_nobody_sees_make_no_seam() -> None:
    assert figures.seam(steps(1e-6, 1e-6, 1e-4, 1e-6), [3]) == pytest.approx(1)
    assert figures.seam(steps(0, 0, 0.02, 0), [3]) == pytest.approx(0.02 / figures.HALF_A_GREY_LEVEL)


@pytest.mark.parametrize("starts", [[], [0], [3], [1, 2]])
def test_seam_refuses_starts_that_leave_nothing(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="starts"):
        figures.seam(steps(0.1, 0.1), starts)


def test_colour_statistics_are_means_then_spreads() -> None:
    frames = torch.zeros(2, 3, 1, 2)
    frames[:, 0] = 0.5
    frames[:, 1, :, 1] = 1
    found = figures.colour_statistics(frames)
    assert found.tolist() == pytest.approx([0.5, 0.5, 0, 0, math.sqrt(0.5), 0])


def test_palette_distance_is_of_colours_and_not_of_places() -> None:
    picture = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    assert figures.palette_distance(picture, picture.flip(2, 3)) == pytest.approx(0, abs=1e-6)
    red, blue, orange = (torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 4, 4) for c in
                         ([1.0, 0, 0], [0.0, 0, 1], [1.0, 0.3, 0]))  # fmt: skip
    assert figures.palette_distance(red, orange) < figures.palette_distance(red, blue)
    assert figures.palette_distance(red, red + 0) == 0


def test_rises_allows_for_slack_but_not_again_and_again() -> None:
    assert figures.rises([0.1, 0.4, 0.7, 0.7])
    assert not figures.rises([0.1, 0.4, 0.39])
    assert figures.rises([0.1, 0.4, 0.39], slack=0.02)
    assert not figures.rises([0.5, 0.49, 0.48, 0.47], slack=0.02)
    assert not figures.rises([0.1, math.nan, 0.3])


def test_drift_is_in_percent_of_the_start_or_the_floor() -> None:
    assert figures.drift(0.5, 0.55) == pytest.approx(10)
    assert figures.drift(0.8, 0.4) == pytest.approx(-50)
    assert figures.drift(0.001, 0.002) == pytest.approx(2)
