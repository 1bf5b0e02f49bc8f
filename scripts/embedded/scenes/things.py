"""Things of any kind in a scene's background: where they are, and the round and the long ones."""

import torch
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.draws import Draws
from scripts.embedded.scenes.motion import sample_thing_swing
from scripts.embedded.scenes.room import ABSENT, Background, Room


def sample_places(
    draw: Draws, room: Room, background: Background, count: int, half_height: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Centres (B, count, 3) in metres and swings (B, count, 3, 3) of things.

    What has a half height (B, count) may stand on the floor; absent things are behind the camera.
    """
    near, wall = background.near[:, None], background.wall[:, None]
    depth = near + (wall - near) * draw.uniform(0.0, 1.0, count) ** 1.5
    present = draw.uniform(0, 1, count) < background.clutter[:, None]
    spread = depth * 0.75
    x, y = draw.uniform(-1, 1, count) * spread, draw.uniform(-0.7, 0.7, count) * spread
    if half_height is not None:
        on_floor = room.has_floor[:, None] & draw.chance(room.standing, count)
        y = torch.where(on_floor, room.level[:, None] - half_height, y)
    swing = sample_thing_swing(draw, count)
    centre = room.tilted(torch.stack([x, y, depth], -1))
    centre[..., 2] = torch.where(present, centre[..., 2].clamp(min=0.3), ABSENT)
    return centre, swing


def grown(sizes: Tensor, background: Background) -> Tensor:
    """Half sizes (B, count, 3): larger where the background is deep, or nobody would see them."""
    rough = background.near + (background.wall - background.near) * 0.4  # sizes are drawn before places
    return sizes * rough[:, None, None].clamp(0.6, 8.0) * 0.7


def sample_ellipsoids(
    draw: Draws, room: Room, background: Background, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Ellipsoids (B, count, 6), their turns (B, count, 3) and swings (B, count, 3, 3)."""
    radii = grown(draw.uniform(0.06, 0.32, count, 3), background)
    centre, swing = sample_places(draw, room, background, count, radii[..., 1])
    turn = draw.uniform(-3, 3, count, 3) * draw.chance(0.6, count, 1)
    return torch.cat([centre, radii], -1), turn, swing


def sample_capsules(draw: Draws, room: Room, background: Background, count: int) -> tuple[Tensor, Tensor]:
    """Capsules (B, count, 7), upright or leaning, and the swings (B, count, 2, 3, 3) of their ends."""
    capsules, swings = [], []
    for _ in range(count):
        centre, swing = sample_places(draw, room, background, 1)
        along = draw.uniform(-1, 1, 3)
        along = torch.where(draw.chance(0.5, 1), constant((0.0, 1.0, 0.0), draw.device), along)
        along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3) * draw.uniform(0.1, 0.8, 1)
        ends = [centre[:, 0] - along, centre[:, 0] + along]
        capsules.append(torch.cat([*ends, draw.uniform(0.02, 0.14, 1)], -1))
        swings.append(swing.expand(-1, 2, -1, -1))  # both ends alike: it keeps its length
    return torch.stack(capsules, 1), torch.stack(swings, 1)
