from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scripts.embedded.scenes.faces import draw_faces, draw_marks, sample_expressions


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(clips: int = 4) -> Tensor:
    return torch.full((clips, 3, 3, 48, 64), 0.5)


def test_mouths_open_and_close_and_eyes_blink() -> None:
    doing = sample_expressions(64, 33, seeded(1))
    for part in (doing.mouth, doing.eyes):
        assert part.shape == (64, 33) and part.min() >= 0 and part.max() <= 1
        moves = part.amax(1) - part.amin(1) > 0.3
        assert 0.2 < moves.float().mean() < 0.9
    assert (doing.mouth.amin(1) > 0.35).any()  # held open
    assert (doing.mouth.amax(1) < 0.2).any()  # held shut


@pytest.mark.parametrize("draw", [draw_faces, draw_marks])
def test_seed_decides_what_is_drawn_and_a_share_of_none_draws_nothing(
    draw: Callable[..., Tensor],
) -> None:
    picture = draw(grey(), seeded(2), share=1.0)
    assert picture.shape == grey().shape and picture.min() >= 0 and picture.max() <= 1
    assert torch.equal(picture, draw(grey(), seeded(2), share=1.0))
    assert ((picture - draw(grey(), seeded(3), share=1.0)).abs().amax((1, 2, 3, 4)) > 0.1).all()
    assert torch.equal(draw(grey(), seeded(2), share=0.0), grey())
