"""Painted forms have a say in depth where the camera is still, and never more than a say."""

import numpy as np
import pytest
import torch
from torch import Tensor

from streaming.depth.refinement import refine

SIZE = (48, 64)
CAMERA = torch.linspace(-0.8, 0.8, SIZE[1]).expand(SIZE).contiguous()
VALUES = CAMERA.expand(5, -1, -1)
STILL = np.ones((5, 12, 16), np.float32)


def with_form(camera: Tensor, height: float = 0.3) -> Tensor:
    painted = camera.clone()
    painted[16:32, 16:32] += height
    return painted


def test_a_painted_form_is_half_believed_at_most() -> None:
    found = refine(VALUES, CAMERA, with_form(CAMERA), STILL, 1.0)
    added = found - VALUES
    assert 0.1 < added[:, 18:30, 18:30].mean() <= 0.15
    assert added[:, :, 40:].abs().max() < 0.03


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (30.0, 200.0), (0.01, -5.0)])
def test_the_estimators_scale_does_not_matter(scale: float, shift: float) -> None:
    expected = refine(VALUES, CAMERA, with_form(CAMERA), STILL, 1.0)
    found = refine(VALUES, CAMERA, scale * with_form(CAMERA) + shift, STILL, 1.0)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_more_strength_is_more_say_and_none_is_none() -> None:
    added = [
        (refine(VALUES, CAMERA, with_form(CAMERA), STILL, strength) - VALUES)[0, 24, 24].item()
        for strength in (0.0, 0.3, 0.6, 1.0)
    ]
    assert added[0] == 0 and added == sorted(added) and added[1] == pytest.approx(0.3 * added[3], rel=1e-3)


def test_where_the_camera_moved_the_form_is_gone_and_stays_gone() -> None:
    still = STILL.copy()
    still[2, :, :8] = 0  # the left half, at the third frame only
    added = refine(VALUES, CAMERA, with_form(CAMERA), still, 1.0) - VALUES
    assert added[:2, 24, 24].min() > 0.1
    assert added[2:, 24, 20].abs().max() < 1e-6


def test_a_picture_of_something_else_has_no_say() -> None:
    assert torch.equal(refine(VALUES, CAMERA, -CAMERA, STILL, 1.0), VALUES)
    unrelated = torch.linspace(-1, 1, SIZE[0]).view(-1, 1).expand(SIZE)
    assert (refine(VALUES, CAMERA, unrelated, STILL, 1.0) - VALUES).abs().max() < 1e-3


def test_a_flat_painting_has_no_say() -> None:
    assert torch.equal(refine(VALUES, CAMERA, torch.full(SIZE, 3.0), STILL, 1.0), VALUES)


def test_it_stays_within_range() -> None:
    found = refine(VALUES, CAMERA, with_form(CAMERA, 50.0), STILL, 1.0)
    assert found.abs().max() <= 1 and (found - VALUES).abs().max() <= 0.25 + 1e-6
