"""Laws of what looks show of gray: a fixed function of each frame, and nothing where gray says nothing."""

import pytest
import torch
from torch import Tensor

from scripts.embedded.scenes.looks import LOOKS, Paint, paint

HEIGHT, WIDTH = 96, 160
MOUTH = slice(52, 60), slice(64, 88)


def plain() -> Tensor:
    """Depth (1, 1, H, W) of a slope."""
    return torch.linspace(0.5, 0.7, WIDTH).expand(1, 1, HEIGHT, WIDTH)


def spotted() -> Tensor:
    """Gray (1, 1, H, W) with a dark mouth."""
    gray = torch.full((1, 1, HEIGHT, WIDTH), 0.6)
    gray[..., *MOUTH] = 0.15
    return gray


@pytest.mark.parametrize("look", LOOKS)
def test_flat_gray_says_nothing_and_a_dark_mouth_is_seen_where_it_is(look: str) -> None:
    depth, kind = plain(), [Paint(look)]
    alone = paint(depth, kind)
    torch.testing.assert_close(paint(depth, kind, torch.full_like(depth, 0.3)), alone, atol=1e-3, rtol=0)
    change = (paint(depth, kind, spotted()) - alone).abs()[0, 0].mean(0)
    assert change[MOUTH].mean() > 0.03
    assert change[:, 144:].max() < 1e-3  # out of reach of the widest blur


@pytest.mark.parametrize("look", ["gold", "comic", "lego"])
def test_a_frame_shows_its_own_gray_alone(look: str) -> None:
    depth = plain().expand(1, 2, -1, -1)
    gray = torch.cat([spotted(), torch.full_like(spotted(), 0.5)], 1)
    video = paint(depth, [Paint(look)], gray)
    torch.testing.assert_close(video[:, :1], paint(depth[:, :1], [Paint(look)], gray[:, :1]))
    torch.testing.assert_close(video[:, 1:], paint(depth[:, 1:], [Paint(look)]))
