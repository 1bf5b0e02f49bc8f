"""Procedural scenes with true depth: people before a webcam, and clutter, that move. All on one device, in
batches.

    scenes = sample_scenes(8, generator)
    surface = render(scenes, times, height=144, width=256)      # times (B, T) in seconds

A scene is a fixed number of ellipsoids, capsules, boxes and planes, each with its own motion; whoever is
absent stands behind the camera. Rays are cast analytically, one primitive after the other, and the nearest
hit wins. Camera space: x right, y down, z away from the camera, metres. Nothing here depends on what is
painted later.

Drawn in `scene_room`, `scene_person`, `scene_things`, `scene_furniture` and `scene_motion`, in an order that
must stay: `scene_draws` says why. Here they get their numbers, and are looked at.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.draws import Draws
from scripts.embedded.scenes.furniture import sample_boxes
from scripts.embedded.scenes.motion import sample_pan, sample_sway
from scripts.embedded.scenes.person import Person, sample_person
from scripts.embedded.scenes.room import sample_background, sample_planes, sample_room
from scripts.embedded.scenes.rotations import turn_matrix
from scripts.embedded.scenes.things import sample_capsules, sample_ellipsoids

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
        turn = turn_matrix(self.ellipsoid_turn[:, HEAD])
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
    batch: int, generator: torch.Generator, *, webcam: float = 0.7, still: float = 0.15, firm: bool = False
) -> Scenes:
    """`webcam`: share with a person; `still`: share in which nothing moves; `firm`: see `sample_room`."""
    draw = Draws(batch, generator)
    is_person = draw.chance(webcam)
    room = sample_room(draw, is_person, is_firm=firm)
    person = sample_person(draw, room, is_person)
    background = sample_background(draw, room, is_person, person.body.z)
    # What the person does not take is free for things.
    free = ELLIPSOIDS - person.ellipsoid.shape[1], CAPSULES - person.capsule.shape[1]
    ellipsoid, ellipsoid_turn, ellipsoid_swing = sample_ellipsoids(draw, room, background, free[0])
    capsule, capsule_swing = _with_legs(person, *sample_capsules(draw, room, background, free[1]))
    box, box_turn, box_swing = sample_boxes(draw, room, background, person.body, BOXES)
    plane = sample_planes(draw, room, background)

    moves = (~draw.chance(still)).float()
    swing = [person.ellipsoid_swing, ellipsoid_swing, person.capsule_swing.flatten(1, 2)]
    swing = torch.cat([*swing, capsule_swing.flatten(1, 2), box_swing], 1)
    swing[..., 0] *= moves[:, None, None]
    sway, pan = sample_sway(draw, moves), sample_pan(draw, moves)
    return Scenes(
        ellipsoid=torch.cat([person.ellipsoid, ellipsoid], 1),
        ellipsoid_turn=torch.cat([person.ellipsoid_turn, ellipsoid_turn], 1),
        capsule=torch.cat([person.capsule, capsule], 1),
        box=box,
        box_turn=box_turn,
        plane=plane,
        swing=swing,
        sway=sway,
        person=_of_person(person.body.stands),
        pan=pan,
        focal=room.focal,
        kind=(~is_person).long(),
    )


def _with_legs(person: Person, capsule: Tensor, swing: Tensor) -> tuple[Tensor, Tensor]:
    """Things (B, n, 7) and swings (B, n, 2, 3, 3) -> the same, the first two legs where a person stands."""
    legs, stands = person.leg.shape[1], person.body.stands[:, None, None]
    capsule[:, :legs] = torch.where(stands, person.leg, capsule[:, :legs])
    swing[:, :legs] *= ~stands[..., None, None]
    return capsule, swing


def _of_person(stands: Tensor) -> Tensor:
    """Which primitives move with the person, (B, E + C + X) bool: legs only where one stands (B,)."""
    person = torch.zeros(len(stands), OBJECTS - PLANES, dtype=torch.bool, device=stands.device)
    for first, last in ((HEAD, HANDS[-1]), (NECK, FOREARMS[-1])):
        person[:, first : last + 1] = True
    person[:, LEGS[0] : LEGS[-1] + 1] = stands[:, None]
    return person


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
    rays = torch.einsum("btij,bjhw->bithw", turn_matrix(torch.stack([yaw * 0, pitch, yaw], -1)), rays)
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
        turn = turn_matrix(scenes.ellipsoid_turn[:, e])
        take(e, *_hit_ellipsoid(rays, centre, scenes.ellipsoid[:, e, 3:], turn))
    for c in range(CAPSULES):
        first, of_person = ELLIPSOIDS + 2 * c, scenes.person[:, ELLIPSOIDS + c]
        end = moved(scenes.capsule[:, c, :3], scenes.swing[:, first], of_person)
        other = moved(scenes.capsule[:, c, 3:6], scenes.swing[:, first + 1], of_person)
        take(ELLIPSOIDS + c, *_hit_capsule(rays, end, other, scenes.capsule[:, c, 6]))
    for x in range(BOXES):
        of_person = scenes.person[:, ELLIPSOIDS + CAPSULES + x]
        centre = moved(scenes.box[:, x, :3], scenes.swing[:, ELLIPSOIDS + 2 * CAPSULES + x], of_person)
        turn = turn_matrix(scenes.box_turn[:, x])
        take(ELLIPSOIDS + CAPSULES + x, *_hit_box(rays, centre, scenes.box[:, x, 3:], turn))
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
    # Not `norm`: along the three of a vector that takes as long on a CPU as all the rest of a render.
    length = _dot(normal, normal).sqrt().clamp(min=1e-6)
    return z, normal / length[:, None], at * radii[:, :, None, None, None]


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
