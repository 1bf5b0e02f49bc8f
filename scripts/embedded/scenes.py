"""Procedural scenes with true depth: people before a webcam, and clutter, that move. All on one device, in
batches.

    scenes = sample_scenes(8, generator)
    surface = render(scenes, times, height=144, width=256)      # times (B, T) in seconds

A scene is a fixed number of ellipsoids, capsules, boxes and planes, each with its own motion; whoever is
absent stands behind the camera. Rays are cast analytically, one primitive after the other, and the nearest
hit wins. Camera space: x right, y down, z away from the camera, metres. Nothing here depends on what is
painted later.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.constants import constant

ELLIPSOIDS, CAPSULES, BOXES, PLANES = 12, 10, 7, 4
OBJECTS = ELLIPSOIDS + CAPSULES + BOXES + PLANES

# Numbers of what is always the same thing where it is present; the rest are things of any kind.
HEAD, HAIR, NOSE, TORSO, CHIN, HANDS = 0, 1, 2, 3, 4, (5, 6)
NECK, SHOULDERS = ELLIPSOIDS, ELLIPSOIDS + 1
UPPER_ARMS, FOREARMS = (ELLIPSOIDS + 2, ELLIPSOIDS + 4), (ELLIPSOIDS + 3, ELLIPSOIDS + 5)
LEGS = (ELLIPSOIDS + 6, ELLIPSOIDS + 7)  # of who stands; free where nobody does
SHIRT = (TORSO, SHOULDERS, *UPPER_ARMS)
DESK, CHAIR = ELLIPSOIDS + CAPSULES, ELLIPSOIDS + CAPSULES + 1
WALL, FLOOR, SIDE, CEILING = range(OBJECTS - PLANES, OBJECTS)

FAR = 60.0  # metres: what a ray that hits nothing is said to have met
ABSENT = -50.0  # z of a primitive that is not part of the scene


@dataclass(frozen=True, slots=True)
class Scenes:
    """B scenes. Positions swing about their rest: p(t) = rest + swing * sin(rate * t + phase)."""

    ellipsoid: Tensor  # (B, E, 6): centre, radii
    ellipsoid_turn: Tensor  # (B, E, 3): angles about z, x, y
    capsule: Tensor  # (B, C, 7): end, other end, radius
    box: Tensor  # (B, X, 6): centre, half sizes
    box_turn: Tensor  # (B, X, 3)
    plane: Tensor  # (B, P, 4): unit normal towards the camera, and n . p
    swing: Tensor  # (B, E + 2 C + X, 3, 3): per axis amplitude (m), rate (rad/s), phase; capsule ends apart
    sway: Tensor  # (B, 4, 3): the person as a whole: x, y, z shift and roll, as amplitude, rate, phase
    person: Tensor  # (B, E + C + X) bool: moves with the person
    pan: Tensor  # (B, 2, 3): camera yaw and pitch: amplitude (rad), rate, phase
    focal: Tensor  # (B,): focal length over picture width
    kind: Tensor  # (B,) int64: 0 webcam, 1 clutter

    def to(self, device: torch.device) -> "Scenes":
        return Scenes(*(getattr(self, name).to(device) for name in Scenes.__slots__))

    def face_of_chin(self) -> Tensor:
        """Where the chin's centre lies in the head's own coordinates: (B, 3) metres."""
        turn = _turn(self.ellipsoid_turn[:, HEAD])
        return torch.einsum("bji,bj->bi", turn, self.ellipsoid[:, CHIN, :3] - self.ellipsoid[:, HEAD, :3])

    def __getitem__(self, index: Tensor | slice) -> "Scenes":
        return Scenes(*(getattr(self, name)[index] for name in Scenes.__slots__))


@dataclass(frozen=True, slots=True)
class Surface:
    """What the rays met, per pixel."""

    distance: Tensor  # (B, T, H, W) z of the hit in metres
    normal: Tensor  # (B, T, 3, H, W) unit, towards the camera
    object: Tensor  # (B, T, H, W) int64: ellipsoids, capsules, boxes, planes in turn; -1 nothing
    local: Tensor  # (B, T, 3, H, W) the hit in the object's own coordinates, metres: textures move along

    def __getitem__(self, index: Tensor | slice) -> "Surface":
        return Surface(*(getattr(self, name)[index] for name in Surface.__slots__))


def sample_scenes(
    batch: int, generator: torch.Generator, *, webcam: float = 0.7, still: float = 0.15
) -> Scenes:
    """`webcam`: share of scenes with a person; `still`: share in which nothing moves."""
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator, device=device) * (high - low) + low

    def chance(p: float, *shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator, device=device) < p

    is_person = chance(webcam)
    ellipsoid = torch.zeros(batch, ELLIPSOIDS, 6, device=device)
    ellipsoid_turn = torch.zeros(batch, ELLIPSOIDS, 3, device=device)
    capsule = torch.zeros(batch, CAPSULES, 7, device=device)
    swing = torch.zeros(batch, ELLIPSOIDS + 2 * CAPSULES + BOXES, 3, 3, device=device)
    person = torch.zeros(batch, ELLIPSOIDS + CAPSULES + BOXES, dtype=torch.bool, device=device)

    # The room: the camera looks down a little more often than up, which tilts all but the person.
    pitch = torch.where(chance(0.6), uniform(-0.12, 0.4), torch.zeros(batch, device=device))
    # Without a person it may look at what stands on a table, or be a long lens in a street.
    pitch = torch.where(chance(0.25) & ~is_person, uniform(0.3, 1.1), pitch)
    focal = torch.where(chance(0.35) & ~is_person, uniform(1.0, 2.4), uniform(0.6, 1.1))
    is_outside = chance(0.2)
    has_floor = chance(0.5) | is_outside
    level = torch.where(is_outside, uniform(0.9, 1.9), uniform(0.35, 1.4))  # of the floor, below the camera

    def tilted(points: Tensor) -> Tensor:
        """Points (B, ..., 3) of an upright room -> as the pitched camera sees them."""
        along = [1] * (points.ndim - 2)
        c, s = pitch.cos().view(-1, *along), pitch.sin().view(-1, *along)
        x, y, z = points.unbind(-1)
        return torch.stack([x, y * c - z * s, y * s + z * c], -1)

    # A person: ellipsoids 0-6, capsules 0-5. Sizes of a body, seated 0.45 ... 1.3 m away, or standing farther
    # off on two more capsules.
    at_x, at_y, at_z = uniform(-0.22, 0.22), uniform(-0.1, 0.12), uniform(0.45, 1.3)
    size = uniform(0.88, 1.12)
    stands = chance(0.15) & is_person
    far_z = uniform(1.3, 4.0)
    feet = tilted(torch.stack([uniform(-0.3, 0.3) * far_z, level, far_z], -1))
    at_x = torch.where(stands, feet[:, 0], at_x)
    at_y = torch.where(stands, torch.where(has_floor, feet[:, 1] - 1.5 * size, uniform(-0.5, 0.1)), at_y)
    at_z = torch.where(stands, feet[:, 2].clamp(min=1.0), at_z)
    tilt = uniform(-0.25, 0.25)
    turn = uniform(-0.5, 0.5)  # yaw of the head
    facing = torch.stack([tilt, uniform(-0.2, 0.3), -0.9 * turn], -1)
    face = _turn(facing)

    def on_head(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """From the head's own coordinates (B,) each, metres, to camera space (B, 3)."""
        return head + torch.einsum("bij,bj->bi", face, torch.stack([x, y, z], -1))

    def part(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.stack([at_x + x * size, at_y + y * size, at_z + z * size], -1)

    zero = torch.zeros_like(at_x)
    head = part(tilt * 0.12, zero - 0.02, zero)
    head_radii = (
        torch.stack([uniform(0.068, 0.085), uniform(0.1, 0.125), uniform(0.085, 0.105)], -1) * size[:, None]
    )
    nose = on_head(zero, 0.15 * head_radii[:, 1], -head_radii[:, 2] * 0.97)
    hair_lift = uniform(0.0, 0.05)
    hair_radii = head_radii + torch.stack([uniform(0.0, 0.05), uniform(0.0, 0.02), uniform(-0.02, 0.03)], -1)
    long_hair = chance(0.4)
    hair_radii[:, 1] += torch.where(long_hair, uniform(0.03, 0.12), zero)
    hang = torch.where(long_hair, uniform(0.03, 0.1), zero)
    # Long hair hangs behind the face, or it would close before it.
    hair_radii[:, 2] = torch.where(long_hair, head_radii[:, 2] * 0.95, hair_radii[:, 2])
    hair = on_head(zero, -0.02 - hair_lift + hang, torch.where(long_hair, zero + 0.05, zero + 0.03))
    torso = part(zero, uniform(0.36, 0.42), zero + 0.03)
    torso_radii = (
        torch.stack([uniform(0.14, 0.21), uniform(0.24, 0.32), uniform(0.09, 0.14)], -1) * size[:, None]
    )
    shoulder_x, shoulder_y = uniform(0.14, 0.19), uniform(0.19, 0.24)
    left, right = part(-shoulder_x, shoulder_y, zero + 0.02), part(shoulder_x, shoulder_y, zero + 0.02)
    chin = on_head(zero, 0.55 * head_radii[:, 1], -0.24 * head_radii[:, 2])
    ellipsoid[:, 0] = torch.cat([head, head_radii], -1)
    ellipsoid[:, 1] = torch.cat([hair, hair_radii], -1)
    ellipsoid[:, 2] = torch.cat([nose, constant((0.014, 0.026, 0.02), device) * size[:, None]], -1)
    ellipsoid[:, 3] = torch.cat([torso, torso_radii], -1)
    ellipsoid[:, 4] = torch.cat([chin, head_radii * constant((0.68, 0.55, 0.72), device)], -1)
    ellipsoid_turn[:, [HEAD, HAIR, NOSE, CHIN]] = facing[:, None]
    neck = torch.cat([head + constant((0, 0.07, 0.015), device), part(zero, zero + 0.22, zero + 0.03)], -1)
    capsule[:, 0] = torch.cat([neck, uniform(0.045, 0.062, 1)], -1)
    capsule[:, 1] = torch.cat([left, right, uniform(0.06, 0.085, 1)], -1)
    for side, shoulder in enumerate((left, right)):
        outward = -1.0 if side == 0 else 1.0
        is_raised = chance(0.45)
        elbow = shoulder + torch.stack(
            [
                outward * uniform(0.02, 0.2) * size,
                torch.where(is_raised, uniform(0.0, 0.25), uniform(0.2, 0.3)) * size,
                uniform(-0.25, 0.05) * size,
            ],
            -1,
        )
        hand = elbow + torch.stack(
            [
                -outward * uniform(-0.2, 0.2) * size,
                torch.where(is_raised, uniform(-0.3, -0.05), uniform(0.05, 0.25)) * size,
                uniform(-0.25, 0.0) * size,
            ],
            -1,
        )
        nearest = 0.22
        elbow[:, 2].clamp_(min=nearest)
        hand[:, 2].clamp_(min=nearest)
        thickness = uniform(0.04, 0.058, 1)
        capsule[:, 2 + 2 * side] = torch.cat([shoulder, elbow, thickness], -1)
        capsule[:, 3 + 2 * side] = torch.cat([elbow, hand, thickness * 0.8], -1)
        palm = torch.stack([uniform(0.03, 0.05), uniform(0.05, 0.09), uniform(0.02, 0.04)], -1)
        ellipsoid[:, 5 + side] = torch.cat([hand, palm], -1)
        ellipsoid_turn[:, 5 + side] = uniform(-1.0, 1.0, 3)
        # The hand's end of the forearm and the hand move together, the elbow half as far.
        waves = chance(0.6).float()[:, None]
        wave = torch.stack(
            [uniform(0.0, 0.14, 3) * waves, uniform(0.8, 6.0, 1).expand(batch, 3), uniform(0, 6.28, 3)], -1
        )
        elbow_wave = wave * constant((0.4, 1.0, 1.0), device)
        swing[:, 5 + side] = wave
        first = ELLIPSOIDS + 2 * (2 + 2 * side)
        swing[:, first + 1] = elbow_wave
        swing[:, first + 2] = elbow_wave
        swing[:, first + 3] = wave
    # Legs of who stands, as far as the floor.
    for side in range(2):
        sideways = zero + (side - 0.5) * 0.2
        hip = part(sideways, zero + 0.62, zero + 0.03)
        foot = part(sideways * uniform(0.6, 2.0), zero + 1.45, uniform(-0.15, 0.2))
        capsule[:, 6 + side] = torch.cat([hip, foot, uniform(0.06, 0.1, 1)], -1)
    ellipsoid[:, :7, 2] = torch.where(is_person[:, None], ellipsoid[:, :7, 2], ABSENT)
    capsule[:, :6, 2] = torch.where(is_person[:, None], capsule[:, :6, 2], ABSENT)
    capsule[:, :6, 5] = torch.where(is_person[:, None], capsule[:, :6, 5], ABSENT)
    person[:, :7] = True
    person[:, ELLIPSOIDS : ELLIPSOIDS + 6] = True

    # Things: behind a person, or anywhere when there is none.
    near = torch.where(is_person, at_z + 0.4, uniform(0.4, 1.2))
    wall = torch.maximum(near + 0.4, uniform(1.2, 6.0))
    wall = torch.where(is_outside, near + 4 * uniform(0.0, 3.0).exp(), wall)
    wall_turn = torch.where(chance(0.3), zero, uniform(-0.55, 0.55))
    clutter = torch.where(is_person, zero + 0.4, zero + 0.7)[:, None]

    def things(count: int, first: int, half: Tensor | None = None) -> Tensor:
        """Centres (B, count, 3); what has a half height (B, count) mostly stands on the floor."""
        depth = near[:, None] + (wall - near)[:, None] * uniform(0.0, 1.0, count) ** 1.5
        present = uniform(0, 1, count) < clutter
        spread = depth * 0.75
        x, y = uniform(-1, 1, count) * spread, uniform(-0.7, 0.7, count) * spread
        if half is not None:
            y = torch.where(has_floor[:, None] & chance(0.75, count), level[:, None] - half, y)
        motion = torch.stack(
            [
                uniform(0.0, 0.25, count, 3) * chance(0.35, count, 1),
                uniform(0.3, 2.5, count, 3),
                uniform(0, 6.28, count, 3),
            ],
            -1,
        )
        swing[:, first : first + count] = motion
        centre = tilted(torch.stack([x, y, depth], -1))
        centre[..., 2] = torch.where(present, centre[..., 2].clamp(min=0.3), ABSENT)
        return centre

    def grown(sizes: Tensor, depth: Tensor) -> Tensor:
        """Sizes (B, count, 3) for what stands at `depth`: far things are large, or nobody would see them."""
        return sizes * depth[..., None].clamp(0.6, 8.0) * 0.7

    free = ELLIPSOIDS - 7
    rough = (near[:, None] + (wall - near)[:, None] * 0.4).expand(-1, free)
    round_sizes = grown(uniform(0.06, 0.32, free, 3), rough)
    centres = things(free, 7, round_sizes[..., 1])
    ellipsoid[:, 7:] = torch.cat([centres, round_sizes], -1)
    ellipsoid_turn[:, 7:] = uniform(-3, 3, free, 3) * chance(0.6, free, 1)
    for slot in range(6, CAPSULES):
        first = ELLIPSOIDS + 2 * slot
        centre = things(1, first)[:, 0]
        along = uniform(-1, 1, 3)
        along = torch.where(chance(0.5, 1), constant((0.0, 1.0, 0.0), device), along)
        along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3) * uniform(0.1, 0.8, 1)
        free_capsule = torch.cat([centre - along, centre + along, uniform(0.02, 0.14, 1)], -1)
        if slot < 8:  # a leg, unless nobody stands
            swing[:, first] *= ~stands[:, None, None]
            free_capsule = torch.where(stands[:, None], capsule[:, slot], free_capsule)
            person[:, ELLIPSOIDS + slot] = stands
        swing[:, first + 1] = swing[:, first]
        capsule[:, slot] = free_capsule
    rough = (near[:, None] + (wall - near)[:, None] * 0.4).expand(-1, BOXES)
    box_sizes = grown(uniform(0.06, 0.36, BOXES, 3), rough)
    # Two pieces of furniture, along the wall: cupboards and shelves, tall ones too.
    box_sizes[:, 2:4, 1] *= uniform(1.0, 3.0, 2)
    centres = things(BOXES, ELLIPSOIDS + 2 * CAPSULES, box_sizes[..., 1])
    at_wall = (wall[:, None] - box_sizes[:, 2:4, 2]) - centres[:, 2:4, 0] * wall_turn.tan()[:, None]
    keep = (centres[:, 2:4, 2] > 0) & (at_wall > near[:, None])
    centres[:, 2:4, 2] = torch.where(keep, at_wall, centres[:, 2:4, 2])
    box_turn = uniform(-3, 3, BOXES, 3) * torch.where(chance(0.5, BOXES, 1), 1.0, 0.0)
    stand = torch.stack([zero, pitch, wall_turn], -1)[:, None]
    box_turn = torch.where(chance(0.5, BOXES, 1), stand * constant((1.0, 1.0, -1.0), device), box_turn)
    box_turn[:, 2:4] = stand * constant((1.0, 1.0, -1.0), device)
    swing[:, ELLIPSOIDS + 2 * CAPSULES + 2 :][:, :2, :, 0] = 0
    box = torch.cat([centres, box_sizes], -1)
    # A desk before the person, and the back of a chair.
    desk = torch.stack(
        [
            uniform(-0.3, 0.3),
            torch.where(is_person, at_y + uniform(0.3, 0.5), uniform(0.15, 0.6)),
            zero + 0.5,
        ],
        -1,
    )
    desk_half = torch.stack([uniform(0.3, 1.2), zero + 0.02, uniform(0.15, 0.3)], -1)
    has_desk = chance(0.3)[:, None]
    box[:, 0] = torch.where(has_desk, torch.cat([desk, desk_half], -1), box[:, 0])
    box_turn[:, 0] = torch.where(has_desk, torch.stack([zero, pitch, uniform(-0.3, 0.3)], -1), box_turn[:, 0])
    chair = part(uniform(-0.06, 0.06), uniform(0.2, 0.5), uniform(0.18, 0.26))
    chair_half = torch.stack([uniform(0.18, 0.3), uniform(0.2, 0.45), uniform(0.02, 0.06)], -1)
    has_chair = (chance(0.35) & is_person & ~stands)[:, None]
    box[:, 1] = torch.where(has_chair, torch.cat([chair, chair_half], -1), box[:, 1])
    box_turn[:, 1] = torch.where(has_chair, uniform(-0.3, 0.3, 3), box_turn[:, 1])
    of_box = swing[:, ELLIPSOIDS + 2 * CAPSULES :]
    of_box[:, 0, :, 0] *= ~has_desk
    of_box[:, 1, :, 0] *= ~has_chair

    plane = torch.zeros(batch, PLANES, 4, device=device)
    away = torch.full_like(zero, 99.0)
    upright = torch.stack([wall_turn.sin(), uniform(-0.05, 0.05), -wall_turn.cos()], -1)
    wall_normal = tilted(upright / upright.norm(dim=-1, keepdim=True))
    plane[:, 0] = torch.cat([wall_normal, (upright[:, 2] * wall)[:, None]], -1)
    floor = tilted(torch.stack([zero, zero - 1, zero], -1))
    plane[:, 1] = torch.cat([floor, -torch.where(has_floor, level, away)[:, None]], -1)
    side = torch.where(chance(0.5), 1.0, -1.0)
    side_at = torch.where(chance(0.35) & ~is_outside, uniform(0.9, 3.0), away)
    plane[:, 2] = torch.cat([torch.stack([-side, zero, zero], -1), -side_at[:, None]], -1)
    ceiling_at = torch.where(chance(0.4) & ~is_outside, uniform(0.7, 2.2), away)
    plane[:, 3] = torch.cat([-floor, -ceiling_at[:, None]], -1)

    moves = (~chance(still)).float()
    swing[..., 0] *= moves[:, None, None]
    sway = torch.stack(
        [
            torch.stack([uniform(0, 0.12), uniform(0, 0.03), uniform(0, 0.12), uniform(0, 0.12)], -1)
            * moves[:, None],
            uniform(0.2, 2.2, 4),
            uniform(0, 6.28, 4),
        ],
        -1,
    )
    shakes = (chance(0.4).float() * moves)[:, None]
    pan = torch.stack([uniform(0, 0.06, 2) * shakes, uniform(0.2, 2.0, 2), uniform(0, 6.28, 2)], -1)
    return Scenes(
        ellipsoid=ellipsoid,
        ellipsoid_turn=ellipsoid_turn,
        capsule=capsule,
        box=box,
        box_turn=box_turn,
        plane=plane,
        swing=swing,
        sway=sway,
        person=person,
        pan=pan,
        focal=focal,
        kind=(~is_person).long(),
    )


@torch.no_grad()
def render(scenes: Scenes, times: Tensor, *, height: int, width: int) -> Surface:
    """Cast a ray through every pixel at `times` (B, T) seconds."""
    device = times.device
    batch, frames = times.shape
    ys = (torch.arange(height, device=device) + 0.5 - height / 2) / width
    xs = (torch.arange(width, device=device) + 0.5 - width / 2) / width
    focal = scenes.focal[:, None, None]
    rays = torch.stack(
        [xs[None, None] / focal + ys[None, :, None] * 0, ys[None, :, None] / focal + xs[None, None] * 0], 1
    )
    rays = torch.cat([rays, torch.ones_like(rays[:, :1])], 1)  # (B, 3, H, W)
    yaw, pitch = (_wave(scenes.pan[:, axis], times) for axis in range(2))
    rays = torch.einsum("btij,bjhw->bithw", _turn(torch.stack([yaw * 0, pitch, yaw], -1)), rays)
    rays = rays.contiguous()  # (B, 3, T, H, W)

    shift = torch.stack([_wave(scenes.sway[:, axis], times) for axis in range(3)], -1)  # (B, T, 3)
    roll = _wave(scenes.sway[:, 3], times)
    pivot = scenes.ellipsoid[:, 3, :3]  # the person rolls about the torso

    def moved(rest: Tensor, swing: Tensor, of_person: Tensor) -> Tensor:
        """Rest (B, 3) -> (B, T, 3)."""
        offset = swing[:, None, :, 0] * torch.sin(
            swing[:, None, :, 1] * times[..., None] + swing[:, None, :, 2]
        )
        at = rest[:, None] + offset
        arm = at - pivot[:, None]
        turned = torch.stack(
            [
                arm[..., 0] * roll.cos() - arm[..., 1] * roll.sin(),
                arm[..., 0] * roll.sin() + arm[..., 1] * roll.cos(),
                arm[..., 2],
            ],
            -1,
        )
        return torch.where(of_person[:, None, None], turned + pivot[:, None] + shift, at)

    distance = torch.full((batch, frames, height, width), FAR, device=device)
    normal = torch.zeros(batch, 3, frames, height, width, device=device)
    normal[:, 2] = -1
    local = rays * FAR
    hit_object = torch.full((batch, frames, height, width), -1, device=device)

    def take(index: int, z: Tensor, n: Tensor, p: Tensor) -> None:
        nonlocal distance, normal, local, hit_object
        is_nearer = (z > 0.05) & (z < distance)
        distance = torch.where(is_nearer, z, distance)
        normal = torch.where(is_nearer[:, None], n, normal)
        local = torch.where(is_nearer[:, None], p, local)
        hit_object = torch.where(is_nearer, index, hit_object)

    for e in range(ELLIPSOIDS):
        centre = moved(scenes.ellipsoid[:, e, :3], scenes.swing[:, e], scenes.person[:, e])
        take(e, *_hit_ellipsoid(rays, centre, scenes.ellipsoid[:, e, 3:], _turn(scenes.ellipsoid_turn[:, e])))
    for c in range(CAPSULES):
        first, of_person = ELLIPSOIDS + 2 * c, scenes.person[:, ELLIPSOIDS + c]
        end = moved(scenes.capsule[:, c, :3], scenes.swing[:, first], of_person)
        other = moved(scenes.capsule[:, c, 3:6], scenes.swing[:, first + 1], of_person)
        take(ELLIPSOIDS + c, *_hit_capsule(rays, end, other, scenes.capsule[:, c, 6]))
    for x in range(BOXES):
        of_person = scenes.person[:, ELLIPSOIDS + CAPSULES + x]
        centre = moved(scenes.box[:, x, :3], scenes.swing[:, ELLIPSOIDS + 2 * CAPSULES + x], of_person)
        take(
            ELLIPSOIDS + CAPSULES + x,
            *_hit_box(rays, centre, scenes.box[:, x, 3:], _turn(scenes.box_turn[:, x])),
        )
    for p in range(PLANES):
        take(ELLIPSOIDS + CAPSULES + BOXES + p, *_hit_plane(rays, scenes.plane[:, p]))
    return Surface(distance, normal.transpose(1, 2), hit_object, local.transpose(1, 2))


def inverse_depth(surface: Surface) -> Tensor:
    """(B, T, H, W), larger = nearer, in 1 / m."""
    return surface.distance.clamp(min=0.05).reciprocal()


def normalised_depth(disparity: Tensor) -> Tensor:
    """Inverse depth (B, T, H, W) -> 0 far ... 1 near by the clip's own 2nd and 98th percentile, as
    `DepthRange` does live."""
    rows, columns = (max(1, side // 32) for side in disparity.shape[2:])
    samples = disparity[:, :, ::rows, ::columns].flatten(1)
    samples = samples[:, :: max(1, samples.shape[1] // 8192)]
    low, high = torch.quantile(samples, constant((0.02, 0.98), samples.device), dim=1)
    spread = (high - low).clamp(min=1e-3)
    return ((disparity - low[:, None, None, None]) / spread[:, None, None, None]).clamp(0, 1)


def _wave(swing: Tensor, times: Tensor) -> Tensor:
    """swing (B, 3) amplitude, rate, phase; times (B, T) -> (B, T)."""
    return swing[:, :1] * torch.sin(swing[:, 1:2] * times + swing[:, 2:3])


def _turn(angles: Tensor) -> Tensor:
    """Angles (..., 3) about z, x, y -> rotation matrices (..., 3, 3)."""
    (cz, cx, cy), (sz, sx, sy) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    one, zero = torch.ones_like(cz), torch.zeros_like(cz)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).unflatten(-1, (3, 3))

    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    return about_y @ about_x @ about_z


def _spread(x: Tensor) -> Tensor:
    """(B, T, 3) -> (B, 3, T, 1, 1), or (B,) -> (B, 1, 1, 1)."""
    return x.transpose(1, 2)[..., None, None] if x.ndim == 3 else x[:, None, None, None]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)


def _hit_ellipsoid(
    rays: Tensor, centre: Tensor, radii: Tensor, turn: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """rays (B, 3, T, H, W), centre (B, T, 3), radii (B, 3), turn (B, 3, 3) -> z, normal and local hit."""
    inward = turn.transpose(1, 2) / radii[..., None]  # world -> unit sphere
    direction = torch.einsum("bij,bjthw->bithw", inward, rays)
    origin = _spread(-torch.einsum("bij,btj->bti", inward, centre))
    a, b, c = _dot(direction, direction), _dot(origin, direction), _dot(origin, origin) - 1
    inside = b * b - a * c
    z = torch.where(inside > 0, (-b - inside.clamp(min=0).sqrt()) / a, FAR * 2)
    at = origin + z[:, None] * direction
    normal = torch.einsum("bji,bjthw->bithw", inward, at)
    return z, normal / normal.norm(dim=1, keepdim=True).clamp(min=1e-6), at * radii[:, :, None, None, None]


def _hit_capsule(rays: Tensor, end: Tensor, other: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ends (B, T, 3), radius (B,). The cylinder between the ends, then the sphere of the nearer end."""
    r, a, axis = radius[:, None, None, None], _spread(end), _spread(other - end)
    length = _dot(axis, axis).clamp(min=1e-8)
    along, off = _dot(axis, rays), _dot(axis, -a)
    aa, bb, cc = _dot(rays, rays), _dot(rays, -a), _dot(a, a)
    qa, qb = length * aa - along * along, length * bb - off * along
    qc = length * cc - off * off - r * r * length
    inside = qb * qb - qa * qc
    z = (-qb - inside.clamp(min=0).sqrt()) / qa.clamp(min=1e-8)
    position = off + z * along  # along the axis, times its length
    on_side = (inside > 0) & (position > 0) & (position < length)
    ball = torch.where((position <= 0)[:, None], a, a + axis)
    b, c = _dot(rays, -ball), _dot(ball, ball) - r * r
    round_inside = b * b - aa * c
    round_z = torch.where(
        (inside > 0) & (round_inside > 0), (-b - round_inside.clamp(min=0).sqrt()) / aa, FAR * 2
    )
    z = torch.where(on_side, z, round_z)
    at = z[:, None] * rays - a
    nearest = (_dot(at, axis) / length).clamp(0, 1)[:, None] * axis
    return z, (at - nearest) / r[:, None], at


def _hit_box(rays: Tensor, centre: Tensor, half: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    inward = turn.transpose(1, 2)
    direction = torch.einsum("bij,bjthw->bithw", inward, rays)
    origin = _spread(-torch.einsum("bij,btj->bti", inward, centre))
    size = half[:, :, None, None, None]
    inverse = torch.where(direction.abs() < 1e-6, 1e6, 1 / direction)
    enter = -origin * inverse - size * inverse.abs()
    leave = -origin * inverse + size * inverse.abs()
    near, face = enter.max(1)
    z = torch.where((near < leave.min(1).values) & (near > 0), near, FAR * 2)
    of_face = torch.nn.functional.one_hot(face, 3).movedim(-1, 1)
    normal = torch.einsum("bji,bjthw->bithw", inward, -direction.sign() * of_face)
    return z, normal, origin + z[:, None] * direction


def _hit_plane(rays: Tensor, plane: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    normal = plane[:, :3, None, None, None]
    facing = _dot(rays, normal)
    z = torch.where(facing < -1e-4, plane[:, 3, None, None, None] / facing.clamp(max=-1e-4), FAR * 2)
    z = z.clamp(max=FAR * 2)
    return z, normal.expand_as(rays), z[:, None] * rays
