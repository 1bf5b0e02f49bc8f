"""Faint detail is wrong even where nobody could know its exact place, and so is noise."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.stages.picture_losses import contrast_loss, reconstruction_loss


@pytest.fixture
def stripes() -> Tensor:
    """(1, 2, 3, 48, 48) in [-1, 1]: bold stripes, eight pixels wide."""
    wave = torch.sin(2 * torch.pi * torch.arange(48) / 8).mul(3).clamp(-0.8, 0.8)
    return wave.expand(1, 2, 3, 48, 48).clone()


def test_the_truth_costs_nothing(stripes: Tensor) -> None:
    assert contrast_loss(stripes, stripes) == 0
    assert reconstruction_loss(stripes, stripes) == 0


def test_faint_costs_more_than_displaced_where_pixels_say_the_opposite(stripes: Tensor) -> None:
    displaced, faint = stripes.roll(3, -1), 0.2 * stripes
    assert reconstruction_loss(faint, stripes) < reconstruction_loss(displaced, stripes)
    assert contrast_loss(faint, stripes) > 5 * contrast_loss(displaced, stripes)


def test_detail_in_the_wrong_part_of_the_picture_does_not_make_up_for_what_is_missing(
    stripes: Tensor,
) -> None:
    half = stripes.clone()
    half[..., 24:] = 0
    assert contrast_loss(half.flip(-1), half) > 0.1


def test_noise_on_a_plain_wall_costs() -> None:
    wall = torch.zeros(1, 2, 3, 48, 48)
    noise = 0.2 * torch.randn(wall.shape, generator=torch.Generator().manual_seed(0))
    assert contrast_loss(wall + noise, wall) > 0.1


def test_bright_teeth_do_not_make_up_for_a_faint_fringe_of_colour(stripes: Tensor) -> None:
    of_equal_luma = torch.tensor([1.0, -0.299 / 0.587, 0.0]).view(3, 1, 1)
    fringe, flat = 0.5 * stripes * of_equal_luma, torch.zeros_like(stripes)
    assert contrast_loss(0.3 * stripes, fringe) > 1.5 * contrast_loss(flat, fringe)


def test_beyond_black_and_white_nothing_is_seen(stripes: Tensor) -> None:
    bold = stripes.sign()
    assert contrast_loss(3 * bold, bold) == 0


def test_slopes_stay_finite_where_there_is_no_detail() -> None:
    wall = torch.zeros(1, 2, 3, 48, 48, requires_grad=True)
    contrast_loss(wall, F.pad(wall.detach()[..., 1:], (1, 0), value=1.0)).backward()
    assert wall.grad is not None and wall.grad.isfinite().all()
