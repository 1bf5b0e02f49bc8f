"""Camera-like pictures of rendered scenes: skin, hair, cloth, wallpaper, lamps, and then a cheap webcam.

    rgb = photograph(surface, scenes, generator)    # (B, T, 3, H, W) in [-1, 1]

Made for a depth net that has to work on real video after it saw nothing but this: whatever could give depth
away and would not do so in reality (colour, scale of a texture, brightness) is drawn at random.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.box_blur import box_blur
from scripts.embedded.scenes.dice import Dice
from scripts.embedded.scenes.faces import Expressions
from scripts.embedded.scenes.procedural import (
    CAPSULES,
    CEILING,
    CHIN,
    ELLIPSOIDS,
    FLOOR,
    FOREARMS,
    HAIR,
    HANDS,
    HEAD,
    LEGS,
    NECK,
    NOSE,
    OBJECTS,
    SHIRT,
    SIDE,
    TORSO,
    WALL,
    Scenes,
    Surface,
)
from scripts.embedded.scenes.textures import PER_KIND, sample_textures, textures
from streaming.frames import LUMA_WEIGHTS

_DECALS = 6  # posters, windows, shelves on the wall
_SKIN = ((0.86, 0.62, 0.50), (0.93, 0.73, 0.62), (0.70, 0.45, 0.32), (0.48, 0.29, 0.19), (0.24, 0.13, 0.08))
_HAIR_COLOURS = (
    (0.02, 0.018, 0.016),
    (0.07, 0.04, 0.025),
    (0.2, 0.11, 0.05),
    (0.5, 0.36, 0.18),
    (0.5, 0.5, 0.5),
)


@torch.no_grad()
def photograph(
    surface: Surface,
    scenes: Scenes,
    generator: torch.Generator,
    *,
    shrink: int = 1,
    compress: bool = True,
    expressions: Expressions | None = None,
) -> Tensor:
    """Surface (B, T, H, W) -> RGB (B, T, 3, H / shrink, W / shrink) float32 in [-1, 1].

    `generator` lives on the surface's device. `shrink` averages that many pixels each way, which smooths the
    edges; `compress` adds block losses where both sides are multiples of 8. `expressions`: what eyes and
    mouths do, None: nothing; they draw no numbers, so that a seed's scene is the same with and without.
    """
    dice = Dice(generator)
    batch, frames = surface.distance.shape[:2]
    bank = textures(dice)
    albedo, glow = _paint(surface, scenes, bank, dice, expressions)
    light = _light(surface, dice)
    picture = (albedo * light + glow).permute(0, 1, 4, 2, 3).flatten(0, 1)  # (B T, 3, H, W), linear
    disparity = surface.distance.clamp(min=0.05).reciprocal().flatten(0, 1)[:, None]
    if shrink > 1:
        picture, disparity = F.avg_pool2d(picture, shrink), F.avg_pool2d(disparity, shrink)
    # One draw for each clip, the same for all its frames.
    camera = _camera(picture, disparity, dice, clips=batch, compress=compress)
    return camera.unflatten(0, (batch, frames))


class _Things(NamedTuple):
    """What is drawn of all things of each scene."""

    settings: Tensor  # (B, OBJECTS + 1, 16): texture coordinates, tint, body, share of the body, texture
    skin: Tensor  # (B, 3)
    hair: Tensor  # (B, 3)
    sky: Tensor  # (B,) whether the far side is one


def _things(scenes: Scenes, kinds: int, wall_at: Tensor, dice: Dice) -> _Things:
    """`kinds` of textures are there; `wall_at` (B, 1, 1): how far the wall is."""
    batch, device = len(scenes.kind), dice.device
    # Things have any texture; one slot more is what lies behind everything.
    texture = dice.pick(kinds, batch, OBJECTS + 1)
    tint = dice.scale(0.5, 1.4, batch, OBJECTS + 1, 1) * dice.uniform(0.85, 1.15, batch, OBJECTS + 1, 3)
    size = dice.scale(0.25, 3.0, batch, OBJECTS + 1, 1, 1)
    project = constant(((1.0, 0.0, 0.37), (0.0, 1.0, 0.41)), device)
    project = project + 0.15 * dice.normal(batch, OBJECTS + 1, 2, 3)
    for plane, axes in ((WALL, (0, 1)), (FLOOR, (0, 2)), (SIDE, (2, 1)), (CEILING, (0, 2))):
        project[:, plane] = 0
        project[:, plane, 0, axes[0]] = 1
        project[:, plane, 1, axes[1]] = 1
        size[:, plane] *= wall_at.abs().clamp(0.5, 30) * 0.6
    calm = dice.chance(0.6, batch)  # most walls are nearly plain
    plain = 6 * PER_KIND + dice.pick(PER_KIND, batch)
    for plane in (WALL, SIDE):
        texture[:, plane] = torch.where(calm, plain, texture[:, plane])
    texture[:, CEILING] = plain
    tint[:, CEILING] += 0.3
    # The far side: sky or something out of focus.
    size[:, OBJECTS] *= 40  # it is said to be 60 m away
    sky = dice.chance(0.6, batch)
    texture[:, OBJECTS] = torch.where(sky, dice.pick(PER_KIND, batch), texture[:, OBJECTS])

    cloth = texture[:, SHIRT[0]]
    cloth = torch.where(dice.chance(0.5, batch), plain, cloth)
    bare = dice.chance(0.45, batch)
    skin, hair = dice.among(_SKIN, batch), dice.among(_HAIR_COLOURS, batch)
    skin = skin * dice.uniform(0.9, 1.1, batch, 3)
    shirt_tint, shirt_size = tint[:, SHIRT[0]].clone(), size[:, SHIRT[0]].clone() * 0.5
    for part in SHIRT:
        texture[:, part], tint[:, part], size[:, part] = cloth, shirt_tint, shirt_size
    for part in LEGS:
        texture[:, part] = torch.where(scenes.kind == 0, texture[:, LEGS[0]], texture[:, part])
    # What is skin or hair takes its colour from the person, and from the texture a little shade only.
    body = torch.zeros(batch, OBJECTS + 1, 3, device=device)
    own = torch.zeros(batch, OBJECTS + 1, 1, device=device)
    for part in (HEAD, NOSE, CHIN, NECK, *HANDS):
        body[:, part], own[:, part] = skin, 1
    body[:, HAIR], own[:, HAIR] = hair, 1
    for part in FOREARMS:
        texture[:, part], tint[:, part], size[:, part] = cloth, shirt_tint, shirt_size
        body[:, part], own[:, part] = skin, bare[:, None].float()
    texture = torch.where(own[..., 0] > 0.5, dice.pick(PER_KIND, batch, OBJECTS + 1), texture)
    size = torch.where(own[..., None] > 0.5, size * 0.15, size)
    own[:, : ELLIPSOIDS + CAPSULES] *= (
        scenes.person[:, : ELLIPSOIDS + CAPSULES, None] & (scenes.kind == 0)[:, None, None]
    ).float()

    offset = dice.uniform(0, 2, batch, OBJECTS + 1, 2)
    settings = torch.cat(
        [(project / size).flatten(2), offset, tint, body, own, texture[..., None].float()], -1
    )
    return _Things(settings, skin, hair, sky)


def _paint(
    surface: Surface, scenes: Scenes, bank: Tensor, dice: Dice, expressions: Expressions | None
) -> tuple[Tensor, Tensor]:
    """Colour of every point without light, and light of its own: both (B, T, H, W, 3)."""
    batch, frames, height, width = surface.distance.shape
    device, kinds = dice.device, len(bank)
    wall_at = -(scenes.plane[:, 0, 3] / scenes.plane[:, 0, 2].clamp(max=-0.2))[:, None, None]
    things = _things(scenes, kinds, wall_at, dice)
    number = torch.where(surface.object < 0, OBJECTS, surface.object)  # (B, T, H, W)
    # A flat gather is several times as fast as indexing with two tensors.
    row = number + torch.arange(batch, device=device)[:, None, None, None] * (OBJECTS + 1)
    at = things.settings.flatten(0, 1)[row]  # (B, T, H, W, 16)
    local = surface.local.permute(0, 1, 3, 4, 2)
    uv = (at[..., :6].unflatten(-1, (2, 3)) * local[..., None, :]).sum(-1) + at[..., 6:8]
    # A share of pictures has one texture glued over everything: nothing but shape and light is left to see.
    glued = dice.chance(0.06, batch)[:, None, None, None]
    glue = dice.pick(kinds, batch)[:, None, None, None]
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device) / width, torch.arange(width, device=device) / width, indexing="ij"
    )
    screen = torch.stack([xs, ys], -1)
    spread = dice.scale(0.3, 3, batch)[:, None, None, None, None]
    uv = torch.where(glued[..., None], screen * spread, uv)
    which = torch.where(glued, glue, at[..., 15].long())
    texel = sample_textures(bank, which, uv)
    grey = texel.mean(-1, keepdim=True)
    of_body = torch.where(glued[..., None], 0.0, at[..., 14:15])
    albedo = texel * at[..., 8:11] * (1 - of_body) + of_body * at[..., 11:14] * (0.8 + 0.4 * grey)
    face = _face(albedo, number, surface, scenes, things.skin, things.hair, dice, expressions)
    albedo = torch.where(of_body > 0.5, face, albedo)

    is_torso = (number == TORSO)[..., None] & ~glued[..., None]
    albedo = torch.where(is_torso, _suit(albedo, local, scenes, dice), albedo)
    glow = torch.zeros_like(albedo)
    on_wall = ((number == WALL) & ~glued)[..., None]
    for _ in range(_DECALS):
        albedo, glow = _hang(albedo, glow, on_wall, local, wall_at, bank, dice)
    bright = (number == OBJECTS)[..., None] & things.sky[:, None, None, None, None]
    height_share = (1 - ys / ys.max().clamp(min=1e-3))[..., None]
    blue = constant((0.35, 0.55, 0.9), device) * height_share + 0.75 * (1 - height_share)
    haze = (blue * dice.scale(0.3, 2.5, batch, 1, 1, 1, 1)) * (0.7 + 0.5 * grey)
    return torch.where(bright, 0.0, albedo), torch.where(bright & ~glued[..., None], haze, glow)


def _hang(
    albedo: Tensor, glow: Tensor, on_wall: Tensor, local: Tensor, wall_at: Tensor, bank: Tensor, dice: Dice
) -> tuple[Tensor, Tensor]:
    """One rectangle on each wall: a poster, a shelf, a door, or a window with the day behind it."""
    batch = len(albedo)

    def each(x: Tensor) -> Tensor:
        return x.view(batch, *([1] * 3), -1)

    reach = wall_at.view(batch, 1)
    centre = dice.uniform(-0.8, 0.8, batch, 2) * reach
    half = dice.scale(0.05, 0.45, batch, 2) * reach
    off = ((local[..., :2] - each(centre)) / each(half)).abs()  # (B, T, H, W, 2): 1 at the rim
    inside = (off.amax(-1, keepdim=True) < 1) & on_wall & each(dice.chance(0.5, batch))
    frame = (off.amax(-1, keepdim=True) > each(dice.uniform(0.8, 1.1, batch))) & inside
    uv = (local[..., :2] - each(centre)) / each(
        half.amax(-1, keepdim=True) * dice.uniform(1, 4, batch, 1)
    ) + 1
    which = each(dice.pick(len(bank), batch))[..., 0].expand(uv.shape[:-1])
    paint = sample_textures(bank, which, uv) * each(dice.scale(0.6, 1.6, batch))
    paint = torch.where(frame, each(dice.colour(batch)), paint)
    is_window = each(dice.chance(0.25, batch)) & inside & ~frame
    day = paint * 0.6 + each(dice.uniform(0.3, 0.8, batch, 3))
    glow = torch.where(is_window, day * each(dice.scale(0.4, 5, batch)), torch.where(inside, 0.0, glow))
    return torch.where(inside, paint, albedo), glow


def _face(
    albedo: Tensor,
    number: Tensor,
    surface: Surface,
    scenes: Scenes,
    skin: Tensor,
    hair: Tensor,
    dice: Dice,
    expressions: Expressions | None,
) -> Tensor:
    """Eyes, brows, mouth, hairline, beard and glasses on (B, T, H, W, 3), where head or chin is seen."""
    batch = len(albedo)

    def each(x: Tensor) -> Tensor:
        """One draw of each clip, or of each of its frames (B, T, 1, 1, 1)."""
        return x if x.ndim == 5 else x.view(batch, *([1] * 3), -1)

    radii = scenes.ellipsoid[:, HEAD, 3:]
    # Head and chin turn alike, so a shift takes the chin's own coordinates to the head's.
    centre = scenes.face_of_chin()
    local = surface.local.permute(0, 1, 3, 4, 2)
    at = local + torch.where((number == CHIN)[..., None], each(centre), 0.0)
    at = at / each(radii)
    on_face = ((number == HEAD) | (number == CHIN))[..., None] & (at[..., 2:] < 0)
    x, y = at[..., :1].abs(), at[..., 1:2]

    def spot(cx: Tensor, cy: Tensor, rx: Tensor, ry: Tensor) -> Tensor:
        """1 inside of a soft-rimmed ellipse on either side of the face."""
        far = ((x - each(cx)) / each(rx)) ** 2 + ((y - each(cy)) / each(ry)) ** 2
        return (2.5 - 2.5 * far).clamp(0, 1)

    def blend(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
        return under + (over - under) * torch.where(on_face, share, 0.0)

    zero = torch.zeros(batch, device=dice.device)
    eye_x, eye_y = dice.uniform(0.34, 0.42, batch), dice.uniform(-0.2, -0.02, batch)
    opened = each(dice.uniform(0.03, 0.08, batch))
    spoken = torch.zeros_like(opened)
    if expressions is not None:
        opened = opened * (0.2 + 1.2 * expressions.eyes[:, :, None, None, None])
        spoken = expressions.mouth[:, :, None, None, None]
    white, dark = torch.full_like(albedo, 0.75), torch.full_like(albedo, 0.03)
    brow = each(hair) * 0.7
    out = blend(
        albedo,
        albedo * 0.6,
        spot(eye_x, eye_y, zero + 0.28, zero + 0.17) * each(dice.uniform(0.1, 0.9, batch)),
    )
    out = blend(out, out * 0.75, spot(zero, eye_y + 0.32, zero + 0.16, zero + 0.06))
    out = blend(out, white, spot(eye_x, eye_y, zero + 0.14, opened))
    out = blend(out, dark, spot(eye_x, eye_y, zero + 0.07, opened * 1.1))
    out = blend(out, brow, spot(eye_x, eye_y - 0.2, dice.uniform(0.15, 0.24, batch), zero + 0.045))
    lip = each(skin) * constant((0.75, 0.42, 0.42), dice.device)
    smile = each(dice.uniform(0.03, 0.09, batch)) + 0.13 * spoken
    mouth_y = dice.uniform(0.42, 0.55, batch)
    beard = (y + 0.25 * x - each(dice.uniform(0.2, 0.45, batch))) * 6
    out = blend(
        out,
        each(hair) * 0.8 + each(skin) * 0.15,
        beard.clamp(0, 1) * each(dice.chance(0.25, batch).float() * dice.uniform(0.3, 1, batch)),
    )
    out = blend(out, lip, spot(zero, mouth_y, dice.uniform(0.2, 0.34, batch), smile))
    out = blend(
        out,
        dark,
        spot(zero, mouth_y, zero + 0.18, smile * (0.6 + 0.2 * spoken))
        * torch.maximum(each(dice.chance(0.3, batch).float()), (3 * spoken).clamp(max=1)),
    )
    rim = spot(eye_x, eye_y, zero + 0.32, zero + 0.22) - spot(eye_x, eye_y, zero + 0.26, zero + 0.16)
    bridge = spot(zero, eye_y, zero + 0.12, zero + 0.03)
    glasses = each(dice.chance(0.3, batch).float() * dice.uniform(0.4, 1, batch))
    out = blend(out, each(dice.colour(batch)) * 0.3, torch.maximum(rim, bridge).clamp(0, 1) * glasses)
    line = dice.uniform(-0.75, -0.45, batch)
    growth = ((each(line) + 0.25 * x**2 - y) * 8).clamp(0, 1) * each(dice.chance(0.85, batch).float())
    return blend(out, each(hair), growth)


def _suit(albedo: Tensor, local: Tensor, scenes: Scenes, dice: Dice) -> Tensor:
    """An open jacket with shirt and tie, or a print, on the torso of some: (B, T, H, W, 3)."""
    batch = len(albedo)

    def each(x: Tensor) -> Tensor:
        return x.view(batch, *([1] * 3), -1)

    x, y = (local / each(scenes.ellipsoid[:, TORSO, 3:]))[..., :2].split(1, -1)
    x = x.abs()
    opening = (x < each(dice.uniform(0.2, 0.6, batch)) * (each(dice.uniform(-0.4, 0.5, batch)) - y)) & each(
        dice.chance(0.3, batch)
    )
    tie = opening & (x < each(dice.uniform(0.03, 0.1, batch))) & each(dice.chance(0.5, batch))
    on_front = (x < each(dice.uniform(0.1, 0.4, batch))) & (
        (y + 0.3).abs() < each(dice.uniform(0.05, 0.3, batch))
    )
    albedo = torch.where(on_front & each(dice.chance(0.15, batch)), each(dice.colour(batch)), albedo)
    albedo = torch.where(
        opening, each(dice.uniform(0.4, 0.9, batch, 1) * dice.uniform(0.9, 1, batch, 3)), albedo
    )
    return torch.where(tie, each(dice.colour(batch)), albedo)


def _light(surface: Surface, dice: Dice) -> Tensor:
    """Light that falls on every point: (B, T, H, W, 3)."""
    batch, frames, height, width = surface.distance.shape
    device = dice.device
    normal = surface.normal.permute(0, 1, 3, 4, 2)

    def each(x: Tensor) -> Tensor:
        return x.view(batch, *([1] * 3), -1)

    sky = each(dice.uniform(0.15, 0.8, batch))
    ambient = sky * (1 + each(dice.uniform(0, 0.5, batch)) * -normal[..., 1:2])
    total = ambient * (1 + 0.15 * each(dice.uniform(-1, 1, batch, 3)))
    position = surface.distance[..., None] * torch.cat(
        [torch.zeros_like(normal[..., :2]), torch.ones_like(normal[..., :1])], -1
    )
    for lamp in range(3):
        towards = dice.normal(batch, 3) * constant((1.0, 0.6, 0.8), device)
        towards = towards + constant((0.0, -0.6, -0.4), device)
        towards = towards / towards.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        power = dice.scale(0.15, 1.6, batch) * (1.0 if lamp == 0 else dice.chance(0.45, batch).float())
        colour = 1 + dice.uniform(0, 0.35, batch, 1) * constant((1.0, 0.1, -0.9), device) * dice.normal(
            batch, 1
        ).clamp(-1, 1)
        wrap = each(dice.uniform(0, 0.5, batch))  # large lamps reach around
        facing = ((normal * each(towards)).sum(-1, keepdim=True) + wrap) / (1 + wrap)
        total = total + facing.clamp(min=0) * each(power[:, None] * colour)
    # A screen's light falls off with distance, in some pictures only: mostly the background is as bright.
    near = each(dice.scale(0.6, 3, batch))
    fall = 1 / (1 + (position[..., 2:] / near) ** 2)
    total = total * torch.where(each(dice.chance(0.15, batch)), 0.25 + 1.5 * fall, 1.0)
    # Shadows of what stands nearer, to one side: soft, and not in all pictures.
    disparity = surface.distance.clamp(min=0.1).reciprocal().flatten(0, 1)[:, None]
    side = max(3, width // 24) | 1
    near_by = box_blur(disparity, side // 2, times=1)
    shift_x, shift_y = (dice.pick(2 * side, 2) - side).div(2, rounding_mode="floor").unbind()
    near_by = near_by.index_select(2, (torch.arange(height, device=dice.device) - shift_y) % height)
    near_by = near_by.index_select(3, (torch.arange(width, device=dice.device) - shift_x) % width)
    covered = ((near_by - disparity) / (disparity + 0.15)).clamp(0, 1).unflatten(0, (batch, frames))
    strength = dice.uniform(0, 0.8, batch) * dice.chance(0.7, batch).float()
    total = total * (1 - each(strength) * covered.permute(0, 1, 3, 4, 2))
    # Soft patches of light and shade that have nothing to do with shape: lamps, foliage, blinds.
    patches = F.interpolate(dice.uniform(0, 1, batch, 1, 3, 5), size=(height, width), mode="bicubic")
    patches = patches.permute(0, 2, 3, 1)[:, None]
    return (total * (1 + each(dice.uniform(0, 0.9, batch)) * (patches - 0.5))).clamp(min=0.005)


def _blur(picture: Tensor, radius: int) -> Tensor:
    return box_blur(picture, radius, times=3)


def _camera(picture: Tensor, disparity: Tensor, dice: Dice, *, clips: int, compress: bool) -> Tensor:
    """Linear RGB (N, 3, H, W) -> what a cheap camera would send, in [-1, 1]."""
    count, _, height, width = picture.shape

    def each(x: Tensor) -> Tensor:
        """One draw per clip -> (N, C, 1, 1)."""
        return x.view(clips, -1).repeat_interleave(count // clips, 0)[..., None, None]

    # Defocus: what is behind the subject, in some pictures.
    nearest = disparity.flatten(1).quantile(0.85, dim=1).view(-1, 1, 1, 1)
    behind = ((nearest - disparity) / nearest).clamp(0, 1)
    amount = each(dice.uniform(0, 2.5, clips) * dice.chance(0.35, clips).float())
    small, large = _blur(picture, 1), _blur(picture, max(2, width // 32))
    level = (behind * amount) * 2
    picture = picture + (small - picture) * level.clamp(0, 1) + (large - small) * (level - 1).clamp(0, 1)
    overall = each(dice.uniform(0, 1, clips) ** 2 * dice.chance(0.6, clips).float())
    picture = picture + (_blur(picture, 1) - picture) * overall
    # Exposure as an automatic camera does it: a mean level that is about right, for the frame or its middle.
    middle = picture[:, :, height // 4 :, width // 4 : -width // 4]
    level = torch.where(
        each(dice.chance(0.5, clips)), picture.mean((1, 2, 3), True), middle.mean((1, 2, 3), True)
    )
    level = level.view(clips, -1, 1, 1, 1).mean(1).repeat_interleave(count // clips, 0)
    picture = picture / level.clamp(min=0.01) * each(dice.scale(0.1, 0.42, clips))
    picture = picture * each(1 + 0.18 * dice.normal(clips, 3).clamp(-2, 2) * dice.uniform(0, 1, clips, 1))
    picture = torch.where(each(dice.chance(0.5, clips)), 1.5 * picture / (0.5 + picture), picture).clamp(
        0, 1.05
    )
    ys = torch.linspace(-1, 1, height, device=dice.device)[:, None]
    xs = torch.linspace(-1, 1, width, device=dice.device)
    picture = picture * (
        1 - each(dice.uniform(0, 0.45, clips) * dice.chance(0.5, clips).float()) * (xs**2 + ys**2) / 2
    )
    picture = picture.clamp(1e-4, 1) ** each(1 / dice.uniform(1.5, 2.5, clips))
    grey = (picture * constant(LUMA_WEIGHTS, dice.device).view(3, 1, 1)).sum(1, keepdim=True)
    saturation = dice.uniform(0.3, 1.5, clips) * (~dice.chance(0.08, clips)).float()
    picture = grey + (picture - grey) * each(saturation)
    picture = (
        (picture - 0.5) * each(dice.uniform(0.75, 1.25, clips)) + 0.5 + each(dice.uniform(-0.06, 0.06, clips))
    )
    # Noise after the curve, fine and coarse; then sharpening, which cheap cameras overdo.
    fine = dice.normal(*picture.shape)
    coarse = F.interpolate(
        dice.normal(count, 3, (height + 1) // 2, (width + 1) // 2), size=(height, width), mode="bilinear"
    )
    picture = picture + each(dice.uniform(0, 0.05, clips) ** 1.5 * 4 * dice.chance(0.7, clips).float()) * (
        fine * 0.4 + coarse * 0.6
    )
    halo = each(dice.uniform(0, 1.2, clips) * dice.chance(0.4, clips).float())
    picture = picture + (picture - _blur(picture, 1)) * halo
    if compress and height % 8 == 0 and width % 8 == 0:
        coded = _lose_blocks(picture, each(dice.scale(0.02, 0.6, clips)))
        picture = torch.where(each(dice.chance(0.6, clips)), coded, picture)
    return picture.clamp(0, 1) * 2 - 1


def _lose_blocks(picture: Tensor, step: Tensor) -> Tensor:
    """Quantise the cosine transform of 8x8 blocks of (N, 3, H, W); `step` (N, 1, 1, 1): the coarseness."""
    device = picture.device
    k = torch.arange(8, device=device).float()
    basis = torch.cos(math.pi * (k + 0.5) * k[:, None] / 8) * 0.5
    basis[0] *= math.sqrt(0.5)
    height, width = picture.shape[2:]
    blocks = picture.unflatten(3, (width // 8, 8)).unflatten(2, (height // 8, 8)).transpose(3, 4)
    spectrum = basis @ blocks @ basis.T
    steps = step[..., None, None] * (1 + k[:, None] + k) / 8 + 1e-4
    blocks = basis.T @ ((spectrum / steps).round() * steps) @ basis
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)
