"""The boxes of a scene: a desk, a chair's back, two cupboards along the wall, and things of any kind."""

import torch
from torch import Tensor

from scripts.embedded.scenes.draws import Draws
from scripts.embedded.scenes.person import Body
from scripts.embedded.scenes.room import Background, Room
from scripts.embedded.scenes.things import grown, sample_places

_DESK, _CHAIR, _CUPBOARDS = 0, 1, slice(2, 4)  # numbers among the boxes


def sample_boxes(
    draw: Draws, room: Room, background: Background, body: Body, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, count, 6), their turns (B, count, 3) and swings (B, count, 3, 3).

    Where a scene has no desk or no chair, that box is a thing like the others.
    """
    half = grown(draw.uniform(0.06, 0.36, count, 3), background)
    # Cupboards and shelves: tall ones too, parallel to the wall and at it, and they do not move.
    half[:, _CUPBOARDS, 1] *= draw.uniform(1.0, 3.0, 2)
    centre, swing = sample_places(draw, room, background, count, half[..., 1])
    centre[:, _CUPBOARDS, 2] = _at_wall(centre[:, _CUPBOARDS], half[:, _CUPBOARDS], background)
    turn = draw.uniform(-3, 3, count, 3) * draw.chance(0.5, count, 1)
    parallel = torch.stack([draw.zeros(), room.pitch, -background.turn], -1)[:, None]
    turn = torch.where(draw.chance(0.5, count, 1), parallel, turn)
    turn[:, _CUPBOARDS] = parallel
    swing[:, _CUPBOARDS, :, 0] = 0
    box = torch.cat([centre, half], -1)

    for number, (has, piece, piece_turn) in (
        (_DESK, _sample_desk(draw, room, body)),
        (_CHAIR, _sample_chair(draw, body)),
    ):
        box[:, number] = torch.where(has, piece, box[:, number])
        turn[:, number] = torch.where(has, piece_turn, turn[:, number])
        swing[:, number, :, 0] *= ~has
    return box, turn, swing


def _at_wall(centre: Tensor, half: Tensor, background: Background) -> Tensor:
    """z (B, n) that puts boxes (B, n, 3) with their backs to the wall, where there is space before it."""
    z = background.wall[:, None] - half[..., 2] - centre[..., 0] * background.turn.tan()[:, None]
    fits = (centre[..., 2] > 0) & (z > background.near[:, None])  # what is behind the camera stays absent
    return torch.where(fits, z, centre[..., 2])


def _sample_desk(draw: Draws, room: Room, body: Body) -> tuple[Tensor, Tensor, Tensor]:
    """A table's top before the person, or before the camera: has one (B, 1), box (B, 6), turn (B, 3)."""
    x = draw.uniform(-0.3, 0.3)
    y = torch.where(body.present, body.y + draw.uniform(0.3, 0.5), draw.uniform(0.15, 0.6))
    centre = torch.stack([x, y, torch.full_like(x, 0.5)], -1)
    width = draw.uniform(0.3, 1.2)
    half = torch.stack([width, torch.full_like(x, 0.02), draw.uniform(0.15, 0.3)], -1)
    has = draw.chance(0.3)[:, None]
    turn = torch.stack([draw.zeros(), room.pitch, draw.uniform(-0.3, 0.3)], -1)
    return has, torch.cat([centre, half], -1), turn


def _sample_chair(draw: Draws, body: Body) -> tuple[Tensor, Tensor, Tensor]:
    """The back of the chair of who sits: has one (B, 1), box (B, 6), turn (B, 3)."""
    centre = body.part(draw.uniform(-0.06, 0.06), draw.uniform(0.2, 0.5), draw.uniform(0.18, 0.26))
    half = torch.stack([draw.uniform(0.18, 0.3), draw.uniform(0.2, 0.45), draw.uniform(0.02, 0.06)], -1)
    has = (draw.chance(0.35) & body.present & ~body.stands)[:, None]
    return has, torch.cat([centre, half], -1), draw.uniform(-0.3, 0.3, 3)
