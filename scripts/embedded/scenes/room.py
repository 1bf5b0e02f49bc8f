"""The room of a scene: how the camera looks into it, and its wall, floor, side and ceiling."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.scenes.draws import Draws

ABSENT = -50.0  # z in metres, behind the camera: of a primitive that is not part of the scene
_AWAY = 99.0  # metres: of a plane that is not part of the scene


@dataclass(frozen=True, slots=True)
class Room:
    """B rooms as the camera sees them. Floor and ceiling are level; the camera is not."""

    pitch: Tensor  # (B,) radians, the camera looks down where positive
    focal: Tensor  # (B,) focal length over picture width
    is_outside: Tensor  # (B,) bool: no side, no ceiling, and a long way to the wall
    has_floor: Tensor  # (B,) bool
    level: Tensor  # (B,) metres: of the floor, below the camera
    standing: float  # share of things that stand on the floor where there is one; others hang in the air

    def tilted(self, points: Tensor) -> Tensor:
        """Points (B, ..., 3) of an upright room -> as the pitched camera sees them."""
        along = [1] * (points.ndim - 2)
        c, s = self.pitch.cos().view(-1, *along), self.pitch.sin().view(-1, *along)
        x, y, z = points.unbind(-1)
        return torch.stack([x, y * c - z * s, y * s + z * c], -1)


@dataclass(frozen=True, slots=True)
class Background:
    """What there is room for behind the person, or before the camera where there is none."""

    near: Tensor  # (B,) metres: things begin here
    wall: Tensor  # (B,) metres, more than `near`: and end here
    turn: Tensor  # (B,) radians: of the wall, about y
    clutter: Tensor  # (B,): share of things that are there


def sample_room(draw: Draws, is_person: Tensor, *, is_firm: bool) -> Room:
    """`is_person`: (B,) bool; `is_firm`: most rooms show a floor, and nearly all things there stand on it."""
    floors, standing = (0.75, 0.9) if is_firm else (0.5, 0.75)
    # The camera looks down a little more often than up, which tilts all but the person.
    pitch = torch.where(draw.chance(0.6), draw.uniform(-0.12, 0.4), draw.zeros())
    # Without a person it may look at what stands on a table, or be a long lens in a street.
    pitch = torch.where(draw.chance(0.25) & ~is_person, draw.uniform(0.3, 1.1), pitch)
    focal = torch.where(draw.chance(0.35) & ~is_person, draw.uniform(1.0, 2.4), draw.uniform(0.6, 1.1))
    is_outside = draw.chance(0.2)
    has_floor = draw.chance(floors) | is_outside
    level = torch.where(is_outside, draw.uniform(0.9, 1.9), draw.uniform(0.35, 1.4))
    return Room(pitch, focal, is_outside, has_floor, level, standing)


def sample_background(draw: Draws, room: Room, is_person: Tensor, person_z: Tensor) -> Background:
    """`is_person`: (B,) bool; `person_z`: (B,) metres."""
    near = torch.where(is_person, person_z + 0.4, draw.uniform(0.4, 1.2))
    wall = torch.maximum(near + 0.4, draw.uniform(1.2, 6.0))
    wall = torch.where(room.is_outside, near + 4 * draw.uniform(0.0, 3.0).exp(), wall)
    zero = draw.zeros()
    turn = torch.where(draw.chance(0.3), zero, draw.uniform(-0.55, 0.55))
    return Background(near, wall, turn, clutter=torch.where(is_person, zero + 0.4, zero + 0.7))


def sample_planes(draw: Draws, room: Room, background: Background) -> Tensor:
    """Wall, floor, side and ceiling: (B, 4, 4), unit normal n towards the camera and n . p in metres."""
    zero = draw.zeros()
    away = torch.full_like(zero, _AWAY)
    upright = torch.stack([background.turn.sin(), draw.uniform(-0.05, 0.05), -background.turn.cos()], -1)
    wall = room.tilted(upright / upright.norm(dim=-1, keepdim=True))
    wall_at = upright[:, 2] * background.wall
    up = room.tilted(torch.stack([zero, zero - 1, zero], -1))
    floor_at = -torch.where(room.has_floor, room.level, away)
    hand = torch.where(draw.chance(0.5), 1.0, -1.0)  # which side it is
    side = torch.stack([-hand, zero, zero], -1)
    side_at = -torch.where(draw.chance(0.35) & ~room.is_outside, draw.uniform(0.9, 3.0), away)
    ceiling_at = -torch.where(draw.chance(0.4) & ~room.is_outside, draw.uniform(0.7, 2.2), away)
    normals = torch.stack([wall, up, side, -up], 1)
    return torch.cat([normals, torch.stack([wall_at, floor_at, side_at, ceiling_at], 1)[..., None]], -1)
