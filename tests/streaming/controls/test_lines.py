"""Laws of the lines control: dark lines on white, whatever the light, each frame by itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.controls.lines import lines_of, xdog
from streaming.modules.scribble import ScribbleNetwork


def face(height: int = 144, *, dark: float = 0.2, bright: float = 0.9) -> Tensor:
    """(1, 3, height, 4/3 height) in [-1, 1]: a dark bar of a fiftieth of the height on a bright ground."""
    picture = torch.full((1, 3, height, height * 4 // 3), bright)
    thick = max(1, height // 50)
    picture[:, :, height // 2 : height // 2 + thick, height // 4 : height] = dark
    picture[:, :, : height // 12] = dark * 0.5  # so that the bar is not all that is dark
    return picture * 2 - 1


@pytest.mark.parametrize("height", [144, 480])
def test_a_thin_dark_bar_is_a_dark_line_on_white(height: int) -> None:
    lines = xdog(face(height))[0]
    middle, column = height // 2 + height // 100, height // 2
    assert lines[middle, column] < -0.8
    assert lines[middle - height // 8, column] > 0.99 and lines[middle + height // 8, column] > 0.99
    assert -1 <= lines.min() and lines.max() <= 1


def test_a_larger_picture_has_the_same_lines_larger() -> None:
    coarse = torch.rand(1, 1, 18, 24, generator=torch.Generator().manual_seed(0))
    small, large = (
        F.interpolate(coarse, size=(height, height * 4 // 3), mode="bicubic").clamp(0, 1) * 2 - 1
        for height in (144, 432)
    )
    of_small, of_large = (xdog(picture.expand(-1, 3, -1, -1)) for picture in (small, large))
    assert (F.avg_pool2d(of_large[None], 3)[0] - of_small).abs().mean() < 0.05


def test_the_light_does_not_matter() -> None:
    bright, dim = xdog(face()), xdog(face(dark=0.05, bright=0.225))
    torch.testing.assert_close(dim, bright, atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [-1.0, 0.3, 1.0])
def test_a_picture_of_one_level_has_no_lines(level: float) -> None:
    assert (xdog(torch.full((2, 3, 24, 32), level)) == 1).all()


@pytest.mark.parametrize("network", [None, ScribbleNetwork().eval()], ids=["xdog", "network"])
@torch.inference_mode()
def test_streamed_equals_offline(network: ScribbleNetwork | None) -> None:
    """A frame's lines depend on no other frame."""
    draws = torch.Generator().manual_seed(0)
    camera = torch.rand(3, 3, 16, 24, generator=draws) * 2 - 1
    together = lines_of(camera, network)
    assert together.shape == (3, 16, 24) and together.dtype == torch.float32
    for frame, lines in zip(camera, together, strict=True):
        torch.testing.assert_close(lines_of(frame[None], network)[0], lines, atol=1e-2, rtol=0)


@torch.inference_mode()
def test_the_network_draws_on_the_256_levels_that_its_annotator_keeps() -> None:
    """Cut, not rounded, as the published code does; input in [0, 1]."""
    network = ScribbleNetwork().eval()
    camera = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = network((camera + 1) / 2)[:, 0]
    levels = (lines_of(camera, network) + 1) * 127.5
    torch.testing.assert_close(levels, (drawn * 255).floor(), atol=1e-3, rtol=0)
