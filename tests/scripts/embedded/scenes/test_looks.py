import pytest
import torch

from scripts.embedded.scenes.looks import LOOKS, Paint, paint
from scripts.embedded.scenes.shape import shape_of


def _jump(near: float = 0.9, far: float = 0.1) -> torch.Tensor:
    """A near half beside a far one, (1, 1, 32, 64)."""
    depth = torch.full((1, 1, 32, 64), far)
    depth[..., 32:] = near
    return depth


def test_a_rainbow_does_not_run_through_its_colours_within_an_outline() -> None:
    picture = paint(_jump(), [Paint("rainbow")])[0, 0, :, 16]  # one colour on both sides, two rounds apart
    torch.testing.assert_close(picture[:, 0], picture[:, 63])
    assert (picture - picture[:, :1]).abs().max() < 0.5


def test_steps_stay_where_the_slope_was_and_slopes_stay_as_they_are() -> None:
    shape = shape_of(_jump())
    assert ((shape.level - 0.5).abs() < 0.39).sum() < ((shape.depth - 0.5).abs() < 0.39).sum()
    torch.testing.assert_close(shape.level[..., :28], shape.depth[..., :28])
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 32, 64)
    shape = shape_of(ramp)
    torch.testing.assert_close(shape.level, shape.depth)


def test_no_shadow_falls_from_the_opposite_border() -> None:
    depth = torch.zeros(1, 1, 32, 64)
    depth[..., 16:, 32:] = 1  # reaches the lower and the right border
    picture = paint(depth, [Paint("paper")])[0, 0]
    corner = picture[:, 8, 8, None, None]
    torch.testing.assert_close(picture[:, :8, :8], corner.expand(3, 8, 8))
    torch.testing.assert_close(picture[:, :8, 48:], corner.expand(3, 8, 16))


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_paints_flat_and_jumping_depth_alike_in_range(look: str) -> None:
    for depth in (torch.zeros(1, 1, 32, 64), torch.ones(1, 1, 32, 64), _jump()):
        picture = paint(depth, [Paint(look)])
        assert picture.shape == (1, 1, 3, 32, 64)
        assert picture.isfinite().all() and picture.abs().max() <= 1
