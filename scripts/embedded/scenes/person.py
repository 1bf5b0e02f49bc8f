"""The person of a scene: where the body is, and its head, trunk, arms and legs. Metres and radians."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.draws import Draws
from scripts.embedded.scenes.motion import sample_hand_swing
from scripts.embedded.scenes.room import ABSENT, Room
from scripts.embedded.scenes.rotations import turn_matrix

_NEAREST = 0.22  # metres: no elbow or hand comes closer to the camera, or it would fill the picture


@dataclass(frozen=True, slots=True)
class Body:
    """Where B bodies are. One is drawn for every scene; where it is not present, nobody sees it."""

    x: Tensor  # (B,) metres, as y and z: all parts are counted from here, which is about the head's centre
    y: Tensor
    z: Tensor
    size: Tensor  # (B,): 1 is average
    present: Tensor  # (B,) bool
    stands: Tensor  # (B,) bool: farther off, and on legs; only who is present does

    def part(self, x: Tensor | float, y: Tensor | float, z: Tensor | float) -> Tensor:
        """(B,) or a number each, metres of a body of size 1 -> (B, 3) in camera space."""
        return torch.stack([self.x + x * self.size, self.y + y * self.size, self.z + z * self.size], -1)


@dataclass(frozen=True, slots=True)
class Person:
    """B persons as primitives, laid out as in `Scenes` and in the order of the numbers in `scenes`."""

    body: Body
    ellipsoid: Tensor  # (B, 7, 6): head, hair, nose, torso, chin, hands
    ellipsoid_turn: Tensor  # (B, 7, 3)
    ellipsoid_swing: Tensor  # (B, 7, 3, 3)
    capsule: Tensor  # (B, 6, 7): neck, shoulders, then upper arm and forearm of each side
    capsule_swing: Tensor  # (B, 6, 2 ends, 3, 3)
    leg: Tensor  # (B, 2, 7): capsules, to be shown only where the body stands


@dataclass(frozen=True, slots=True)
class _Arm:
    upper: Tensor  # (B, 7) capsule
    upper_swing: Tensor  # (B, 2 ends, 3, 3)
    fore: Tensor  # (B, 7) capsule
    fore_swing: Tensor  # (B, 2 ends, 3, 3)
    hand: Tensor  # (B, 6) ellipsoid
    hand_turn: Tensor  # (B, 3)
    hand_swing: Tensor  # (B, 3, 3)


def sample_person(draw: Draws, room: Room, is_person: Tensor) -> Person:
    """`is_person`: (B,) bool; who is not there is drawn all the same, and stands behind the camera."""
    body = _sample_body(draw, room, is_person)
    (head, hair, nose, chin), facing = _sample_head(draw, body)
    torso, neck, shoulders = _sample_trunk(draw, body, head[:, :3])
    arms = [
        _sample_arm(draw, body, shoulders[:, :3], outward=-1.0),
        _sample_arm(draw, body, shoulders[:, 3:6], outward=1.0),
    ]
    leg = torch.stack([_sample_leg(draw, body, x) for x in (-0.1, 0.1)], 1)

    ellipsoid = torch.stack([head, hair, nose, torso, chin, *(arm.hand for arm in arms)], 1)
    capsule = torch.stack([neck, shoulders, *(limb for arm in arms for limb in (arm.upper, arm.fore))], 1)
    for parts, z in ((ellipsoid, 2), (capsule, 2), (capsule, 5)):
        parts[..., z] = torch.where(is_person[:, None], parts[..., z], ABSENT)
    upright, rest, rests = draw.zeros(3), draw.zeros(3, 3), draw.zeros(2, 3, 3)
    turns = [facing, facing, facing, upright, facing, *(arm.hand_turn for arm in arms)]
    limb_swings = [swing for arm in arms for swing in (arm.upper_swing, arm.fore_swing)]
    return Person(
        body,
        ellipsoid=ellipsoid,
        ellipsoid_turn=torch.stack(turns, 1),
        ellipsoid_swing=torch.stack([*[rest] * 5, *(arm.hand_swing for arm in arms)], 1),
        capsule=capsule,
        capsule_swing=torch.stack([rests, rests, *limb_swings], 1),
        leg=leg,
    )


def _sample_body(draw: Draws, room: Room, is_person: Tensor) -> Body:
    """Seated 0.45 ... 1.3 m away, or standing farther off: on the floor, where there is one."""
    x, y, z = draw.uniform(-0.22, 0.22), draw.uniform(-0.1, 0.12), draw.uniform(0.45, 1.3)
    size = draw.uniform(0.88, 1.12)
    stands = draw.chance(0.15) & is_person
    far_z = draw.uniform(1.3, 4.0)
    feet = room.tilted(torch.stack([draw.uniform(-0.3, 0.3) * far_z, room.level, far_z], -1))
    above_feet = torch.where(room.has_floor, feet[:, 1] - 1.5 * size, draw.uniform(-0.5, 0.1))
    return Body(
        x=torch.where(stands, feet[:, 0], x),
        y=torch.where(stands, above_feet, y),
        z=torch.where(stands, feet[:, 2].clamp(min=1.0), z),
        size=size,
        present=is_person,
        stands=stands,
    )


def _sample_head(draw: Draws, body: Body) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Head, hair, nose and chin: ellipsoids (B, 6) each, and the turn (B, 3) they share."""
    tilt = draw.uniform(-0.25, 0.25)
    yaw = draw.uniform(-0.5, 0.5)
    facing = torch.stack([tilt, draw.uniform(-0.2, 0.3), -0.9 * yaw], -1)
    face = turn_matrix(facing)
    head = body.part(tilt * 0.12, -0.02, 0.0)

    def on_head(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """From the head's own coordinates (B,) each, metres, to camera space (B, 3)."""
        return head + torch.einsum("bij,bj->bi", face, torch.stack([x, y, z], -1))

    zero = draw.zeros()
    sides = [draw.uniform(0.068, 0.085), draw.uniform(0.1, 0.125), draw.uniform(0.085, 0.105)]
    radii = torch.stack(sides, -1) * body.size[:, None]
    nose = on_head(zero, 0.15 * radii[:, 1], -radii[:, 2] * 0.97)
    nose_radii = constant((0.014, 0.026, 0.02), draw.device) * body.size[:, None]
    chin = on_head(zero, 0.55 * radii[:, 1], -0.24 * radii[:, 2])
    chin_radii = radii * constant((0.68, 0.55, 0.72), draw.device)

    lift = draw.uniform(0.0, 0.05)
    thickness = [draw.uniform(0.0, 0.05), draw.uniform(0.0, 0.02), draw.uniform(-0.02, 0.03)]
    hair_radii = radii + torch.stack(thickness, -1)
    is_long = draw.chance(0.4)
    hair_radii[:, 1] += torch.where(is_long, draw.uniform(0.03, 0.12), zero)
    hang = torch.where(is_long, draw.uniform(0.03, 0.1), zero)
    # Long hair hangs behind the face, or it would close before it.
    hair_radii[:, 2] = torch.where(is_long, radii[:, 2] * 0.95, hair_radii[:, 2])
    hair = on_head(zero, -0.02 - lift + hang, torch.where(is_long, zero + 0.05, zero + 0.03))
    return (
        torch.cat([head, radii], -1),
        torch.cat([hair, hair_radii], -1),
        torch.cat([nose, nose_radii], -1),
        torch.cat([chin, chin_radii], -1),
    ), facing


def _sample_trunk(draw: Draws, body: Body, head: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Torso (B, 6), neck and shoulders (B, 7), left end first, under a head whose centre is (B, 3)."""
    torso = body.part(0.0, draw.uniform(0.36, 0.42), 0.03)
    sides = [draw.uniform(0.14, 0.21), draw.uniform(0.24, 0.32), draw.uniform(0.09, 0.14)]
    torso_radii = torch.stack(sides, -1) * body.size[:, None]
    across, down = draw.uniform(0.14, 0.19), draw.uniform(0.19, 0.24)
    left, right = body.part(-across, down, 0.02), body.part(across, down, 0.02)
    throat, nape = head + constant((0, 0.07, 0.015), draw.device), body.part(0.0, 0.22, 0.03)
    return (
        torch.cat([torso, torso_radii], -1),
        torch.cat([throat, nape, draw.uniform(0.045, 0.062, 1)], -1),
        torch.cat([left, right, draw.uniform(0.06, 0.085, 1)], -1),
    )


def _sample_arm(draw: Draws, body: Body, shoulder: Tensor, *, outward: float) -> _Arm:
    """From a shoulder (B, 3), hanging or raised; `outward` is the sign of x away from the trunk."""
    size = body.size
    is_raised = draw.chance(0.45)
    to_elbow = [
        outward * draw.uniform(0.02, 0.2) * size,
        torch.where(is_raised, draw.uniform(0.0, 0.25), draw.uniform(0.2, 0.3)) * size,
        draw.uniform(-0.25, 0.05) * size,
    ]
    elbow = shoulder + torch.stack(to_elbow, -1)
    to_hand = [
        -outward * draw.uniform(-0.2, 0.2) * size,
        torch.where(is_raised, draw.uniform(-0.3, -0.05), draw.uniform(0.05, 0.25)) * size,
        draw.uniform(-0.25, 0.0) * size,
    ]
    hand = elbow + torch.stack(to_hand, -1)
    elbow[:, 2].clamp_(min=_NEAREST)
    hand[:, 2].clamp_(min=_NEAREST)
    thickness = draw.uniform(0.04, 0.058, 1)
    palm = torch.stack([draw.uniform(0.03, 0.05), draw.uniform(0.05, 0.09), draw.uniform(0.02, 0.04)], -1)
    hand_turn = draw.uniform(-1.0, 1.0, 3)
    # The hand's end of the forearm and the hand move together, the elbow half as far, the shoulder not.
    hand_swing = sample_hand_swing(draw)
    elbow_swing = hand_swing * constant((0.4, 1.0, 1.0), draw.device)
    return _Arm(
        upper=torch.cat([shoulder, elbow, thickness], -1),
        upper_swing=torch.stack([torch.zeros_like(elbow_swing), elbow_swing], 1),
        fore=torch.cat([elbow, hand, thickness * 0.8], -1),
        fore_swing=torch.stack([elbow_swing, hand_swing], 1),
        hand=torch.cat([hand, palm], -1),
        hand_turn=hand_turn,
        hand_swing=hand_swing,
    )


def _sample_leg(draw: Draws, body: Body, x: float) -> Tensor:
    """(B, 7) from a hip at `x` metres aside to as far down as the floor."""
    hip = body.part(x, 0.62, 0.03)
    foot = body.part(x * draw.uniform(0.6, 2.0), 1.45, draw.uniform(-0.15, 0.2))
    return torch.cat([hip, foot, draw.uniform(0.06, 0.1, 1)], -1)
