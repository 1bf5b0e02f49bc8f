"""Looks of the built-in model: every look is a function of the depth and the gray that the model is given,
and of the place on the screen. Nothing else: what a target depends on and the model cannot see would come
out as blur.

    picture = paint(depth, [Paint("gold"), Paint("wool", "blue", "bricks")], gray)   # (B, T, H, W), near = 1

A face is in gray alone: relief, `tone`, `patch` or `ink` of it is in every look, whichever its pattern leaves
visible.

Patterns repeat every 16 pixels or a divisor of it, the size of a token: the model knows the distance between
two tokens, and not where on the screen they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.shape import Shape, shape_of, step


@dataclass(frozen=True, slots=True)
class Paint:
    """What a prompt asks for."""

    look: str  # one of LOOKS
    colour: str | None = None  # one of COLOURS, for COLOURED looks only; None: the look's own
    background: str | None = None  # one of BACKGROUNDS; None: the look's own


COLOURS = {
    "red": "d8232a",
    "orange": "f58018",
    "yellow": "ffd21f",
    "green": "2ba84a",
    "teal": "11a8ab",
    "blue": "2458d6",
    "purple": "8232b4",
    "pink": "ff6fae",
    "white": "f1efe9",
    "black": "33333a",
    "brown": "7d4a25",
    "grey": "8d9096",
}


def paint(depth: Tensor, paints: Sequence[Paint], gray: Tensor | None = None) -> Tensor:
    """Depth (B, T, H, W), 0 far ... 1 near, one Paint a clip -> RGB (B, T, 3, H, W) in [-1, 1]. gray
    (B, T, H, W), 0 black ... 1 white; 0.5, and None, says nothing."""
    out = depth.new_empty(*depth.shape[:2], 3, *depth.shape[2:])
    shape = shape_of(depth, gray)
    for n, kind in enumerate(paints):
        out[n : n + 1] = _paint(shape.of_clip(n), kind)
    return _through_lens(out).mul_(2).sub_(1).clamp_(-1, 1)


def _through_lens(picture: Tensor) -> Tensor:
    """(B, T, 3, H, W) by [1 2 1] / 4 both ways, as a camera's optics would: steps of the threshold patterns
    and outlines of single rays are stairs of pixels otherwise, ugly, and nothing that 16 numbers for 8 x 8
    pixels could carry."""
    flat = F.pad(picture.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    kernel = constant((0.25, 0.5, 0.25), picture.device).expand(3, 1, 3)
    flat = F.conv2d(F.conv2d(flat, kernel[:, :, :, None], groups=3), kernel[:, :, None], groups=3)
    return flat.unflatten(0, picture.shape[:2])


def _paint(shape: Shape, kind: Paint) -> Tensor:
    picture = _LOOKS[kind.look](shape) if kind.colour is None else _COLOURED[kind.look](shape, kind.colour)
    if kind.background is None:
        return picture
    behind = BACKGROUND_PAINTERS[kind.background](shape)
    return behind + (picture - behind) * shape.near[:, :, None]


def duotone(shape: Shape, colours: Tensor) -> Tensor:
    """A look in three colours (B, 3, 3), dark to light, as a reference picture brings them."""
    tone = (0.15 + 0.35 * shape.near + 0.45 * (shape.light - 0.35) + 0.15 * shape.rim).clamp(0, 1)[:, :, None]
    dark, middle, light = (colours[:, None, n, :, None, None] for n in range(3))
    low, high = (tone * 2).clamp(0, 1), (tone * 2 - 1).clamp(0, 1)
    return dark + (middle - dark) * low + (light - middle) * high


def _rgb(code: str, like: Tensor) -> Tensor:
    return constant(tuple(int(code[n : n + 2], 16) / 255 for n in (0, 2, 4)), like.device).view(1, 1, 3, 1, 1)


def _ramp(value: Tensor, *codes: str) -> Tensor:
    """Value (B, T, H, W) in 0 ... 1 -> RGB (B, T, 3, H, W) along evenly spaced colours."""
    value = value.expand(*value.shape)[:, :, None] * (len(codes) - 1)
    out = _rgb(codes[0], value)
    for n in range(1, len(codes)):
        out = out + (_rgb(codes[n], value) - _rgb(codes[n - 1], value)) * (value - (n - 1)).clamp(0, 1)
    return out


def _mix(a: Tensor, b: Tensor | str, amount: Tensor) -> Tensor:
    """a where amount (B, T, H, W) is 0, b where it is 1."""
    other = _rgb(b, a) if isinstance(b, str) else b
    return a + (other - a) * amount[:, :, None]


def _flat(code: str, shape: Shape) -> Tensor:
    return _rgb(code, shape.depth).expand(*shape.depth.shape[:2], 3, *shape.depth.shape[2:])


def _line(phase: Tensor, width: float, soft: float = 0.12) -> Tensor:
    """1 where phase (in periods) is within `width` / 2 of a whole number."""
    away = (phase - phase.round()).abs()
    return 1 - step(away, width / 2, width / 2 + soft)


def _spread(shape: Shape, levels: float) -> Tensor:
    """1 where one of so many levels of depth is many pixels wide, 0 where patterns of it would be teeth."""
    return 1 - step(shape.steep * levels, 0.1, 0.2)


def _contour(shape: Shape, levels: float) -> Tensor:
    """Lines of equal depth, two or three pixels wide on every slope; none where they would touch, nor on what
    is so flat that its depth does not say where they are."""
    phase, slope = shape.level * levels, shape.steep * levels
    line = 1 - step((phase - phase.round()).abs() / slope.clamp(min=1e-6), 1.0, 2.5)
    return line * step(slope, 0.012, 0.03) * _spread(shape, levels)


def _tile(shape: Shape, size: int) -> tuple[Tensor, Tensor]:
    """Place within a tile, -0.5 ... 0.5."""
    return ((shape.x + 0.5) % size) / size - 0.5, ((shape.y + 0.5) % size) / size - 0.5


def _blocky(field: Tensor, size: int) -> Tensor:
    """The mean of each block in all of its pixels."""
    mean = F.avg_pool2d(field.flatten(0, 1)[:, None], size)
    return F.interpolate(mean, scale_factor=size)[:, 0].unflatten(0, field.shape[:2])


def _tone(shape: Shape) -> Tensor:
    """Shading that also falls off with distance."""
    return ((0.25 + 0.75 * shape.depth) * (0.25 + 0.95 * shape.light) + 0.35 * shape.tone).clamp(0, 1)


def _metal(shape: Shape, *codes: str) -> Tensor:
    """Bands of a reflected sky: the sharper the bend, the more of them."""
    bend = 0.5 + 0.36 * (2 * shape.light - 1) + 0.16 * torch.sin(5 * shape.rising + 3 * shape.facing)
    bend = bend + 0.5 * shape.tone
    return _ramp((bend * (0.35 + 0.65 * shape.near)).clamp(0, 1), *codes)


def _gold(s: Shape) -> Tensor:
    return _mix(
        _metal(s, "1c0d02", "6b3a06", "c98a12", "ffce3a", "fff6c0"), "fff3b0", s.rim * s.light * s.near
    )


def _silver(s: Shape) -> Tensor:
    return _mix(
        _metal(s, "0b0f16", "39424f", "8e9aa8", "dfe6ee", "ffffff"), "ffffff", s.rim * s.light * s.near
    )


def _jade(s: Shape) -> Tensor:
    picture = _ramp(_tone(s), "02140d", "0b4f33", "1f9a63", "7fe0a8", "e2fff0")
    return _mix(picture, "b8ffd8", 0.6 * s.rim * s.near)


def _ice(s: Shape) -> Tensor:
    facets = ((s.facing * 2).round() / 2 + (s.rising * 2).round() / 2) * 0.22 + 0.5 + 0.9 * s.tone
    picture = _ramp((facets * (0.35 + 0.65 * s.near)).clamp(0, 1), "06233f", "1f6aa5", "79c4ea", "d9f4ff")
    return _mix(picture, "ffffff", s.rim)


def _lava(s: Shape) -> Tensor:
    vein = _line(s.level * 4, 0.1, 0.3) * _spread(s, 4)
    heat = 0.08 + vein * (0.3 + 0.5 * s.near) + s.near * (0.15 + 0.35 * (1 - s.light))
    # Cracks glow at outlines; lines within are crust, or a face would be white heat all over.
    heat = torch.maximum(heat, 0.9 * s.edge) + 1.2 * s.tone - 0.9 * s.ink
    return _ramp(heat.clamp(0, 1), "0d0403", "5c0d04", "d43a05", "ff9a1a", "fff0a0")


def _porcelain(s: Shape) -> Tensor:
    picture = _ramp(_tone(s) * 0.6 + 0.4 * s.near, "b9c4d2", "e4e9ef", "fbfcfd")
    u, v = _tile(s, 16)
    flower = 1 - step(((u * u + v * v).sqrt() - 0.27).abs(), 0.04, 0.12)
    dot = 1 - step((u * u + v * v).sqrt(), 0.08, 0.14)
    picture = _mix(picture, "1c3fa8", (flower + dot).clamp(0, 1) * 0.85 * s.near)
    return _mix(picture, "14317f", s.edge)


def _wood(s: Shape) -> Tensor:
    rings = 0.5 + 0.5 * _spread(s, 10) * torch.sin(2 * torch.pi * (s.level * 10 + s.y / 16))
    picture = _ramp(rings, "8a5226", "c98d4e", "e3b277")
    return picture * (0.35 + 0.75 * s.light * (0.5 + 0.5 * s.depth) + 0.6 * s.tone).clamp(0, 1.1)[:, :, None]


def _chocolate(s: Shape) -> Tensor:
    picture = _ramp(_tone(s), "1a0a05", "4a2412", "86481f", "c47f48")
    return _mix(picture, "f3d9bd", 0.8 * step(s.light, 0.84, 0.94) * s.near)


def _zebra(s: Shape) -> Tensor:
    stripe = step(torch.sin(2 * torch.pi * (s.x / 16 + 2.5 * s.level)) + 2.5 * s.tone, -0.25, 0.25)
    picture = _ramp(stripe, "101012", "fafaf5")
    return picture * (0.55 + 0.45 * s.light + 0.15 * s.near)[:, :, None].clamp(0, 1)


def _tiger(s: Shape) -> Tensor:
    stripe = step(torch.sin(2 * torch.pi * (s.y / 16 + 2.5 * s.level)) - 2 * s.tone, 0.35, 0.75)
    coat = _ramp(_tone(s), "8f3a05", "e8790f", "ffb347", "ffe2b0")
    return _mix(coat, "1a0e08", stripe)


def _leopard(s: Shape) -> Tensor:
    u, v = _tile(s, 16)
    spots = torch.zeros_like(u + v)
    for at_x, at_y, size in ((-0.22, -0.2, 0.2), (0.26, 0.24, 0.2), (0.28, -0.32, 0.09), (-0.3, 0.32, 0.09)):
        away = ((u - at_x) ** 2 + (v - at_y) ** 2).sqrt()
        spots = torch.maximum(spots, 1 - step((away - size * 0.75).abs(), size * 0.3, size * 0.6))
    coat = _ramp(_tone(s), "7a4a12", "c98a34", "eebc6c", "ffe6b5")
    return _mix(coat, "23130a", torch.maximum(spots * (1 - 1.6 * s.tone.clamp(min=0)), s.ink))


def _blueprint(s: Shape) -> Tensor:
    grid = torch.maximum(_line(s.x / 16, 0.03, 0.06), _line(s.y / 16, 0.03, 0.06))
    picture = _mix(_flat("0f3d91", s), "3f72cc", grid.expand_as(s.depth) * 0.8)
    picture = _mix(picture, "2a5cb8", s.near * 0.5)
    return _mix(_mix(picture, "9cc4ff", _contour(s, 5) * 0.7), "ffffff", s.edge)


def _thermal(s: Shape) -> Tensor:
    heat = (0.05 + 0.85 * s.depth + 0.1 * (s.light - 0.5) + 0.7 * s.tone).clamp(0, 1)
    return _ramp(heat, "05003a", "3b0a8c", "a0107a", "ee4020", "ffb000", "fffbd0")


def _xray(s: Shape) -> Tensor:
    # Bones: what is dark in the picture shines in its negative.
    glow = 0.25 * s.near + 0.9 * s.rim * (0.4 + 0.6 * s.depth) - 1.6 * s.near * s.tone
    glow = glow.clamp(0, 1)
    return _ramp(glow, "02050a", "27506b", "9fd0e6", "f4fdff")


def _hologram(s: Shape) -> Tensor:
    scan = 0.5 + 0.5 * torch.cos(2 * torch.pi * s.y / 4)
    body = 0.5 * s.near * (0.3 + 0.7 * s.light) * (1 + 2.5 * s.tone).clamp(min=0)
    glow = (0.12 + body + 0.7 * s.rim) * (1 - 0.7 * s.ink) * (0.45 + 0.55 * scan)
    return _ramp(glow.clamp(0, 1), "00100f", "00695f", "19e6c8", "d8fff7")


def _map(s: Shape) -> Tensor:
    land = _ramp(s.level, "4a9fd0", "9fd6a0", "d8e29a", "e8c687", "c79a6a", "ffffff")
    return _mix(_mix(land, "7a4a22", _contour(s, 6)), "3d2412", s.edge)


def _strokes(phase: Tensor) -> Tensor:
    """A firm stroke and a light one in each period."""
    return torch.maximum(_line(phase, 0.14, 0.1), 0.6 * _line(phase + 0.5, 0.06, 0.1))


def _sketch(s: Shape) -> Tensor:
    dark = 0.8 * (0.75 - 0.9 * s.light * (0.6 + 0.4 * (1 - s.near))) - 1.1 * s.tone
    hatch = _strokes((s.x + s.y) / 16) * step(dark, 0.1, 0.3)
    cross = _strokes((s.x - s.y) / 16) * step(dark, 0.35, 0.55)
    ink = torch.maximum(torch.maximum(hatch, cross) * 0.75, s.edge)
    return _ramp(ink.clamp(0, 1), "f7f4ec", "2b2a2e")


def _engraving(s: Shape) -> Tensor:
    thick = (0.1 + 0.5 * (1 - s.light) * (0.4 + 0.6 * s.near) - 1.4 * s.tone).clamp(0.04, 0.95)
    away = ((s.y / 8 + 1.5 * s.depth) - (s.y / 8 + 1.5 * s.depth).round()).abs()
    ink = 1 - step(away - thick / 2, -0.06, 0.1)
    # Where it is darkest the burin leaves no paper: lines alone would hide a mouth, which lies along them.
    solid = step(-s.tone, 0.1, 0.25)
    return _ramp(torch.maximum(torch.maximum(0.6 * ink, solid), s.edge), "e6ead0", "1f4a2c")


def _comic(s: Shape) -> Tensor:
    u, v = _tile(s, 16)
    # A printer's screen stands at 45 degrees: dots at the middle and at the corners of a tile.
    at_corner = ((0.5 - u.abs()) ** 2 + (0.5 - v.abs()) ** 2).sqrt()
    away = torch.minimum((u * u + v * v).sqrt(), at_corner)
    size = (0.06 + 0.34 * (1 - s.light) - 0.6 * s.tone).clamp(0.02, 0.5)
    dots = 1 - step(away - size, -0.05, 0.05)
    skin = _mix(_flat("ffe24a", s), "e8262a", dots)
    sky = _mix(_flat("4fc3f7", s), "ffffff", 1 - step(away - 0.16, -0.05, 0.05).expand_as(s.depth))
    return _mix(_mix(sky, skin, s.near), "0a0a0a", s.edge)


def _lego(s: Shape) -> Tensor:
    u, v = _tile(s, 8)
    level = _blocky((s.depth + 1.5 * s.patch).clamp(0, 1), 8)
    away = (u * u + v * v).sqrt()
    stud = 1 - step(away, 0.26, 0.32)
    relief = stud * (-u - v) * 1.4 + (step(away, 0.26, 0.32) - step(away, 0.34, 0.42)) * (u + v) * -0.9
    seam = torch.maximum(step(u.abs(), 0.42, 0.5), step(v.abs(), 0.42, 0.5))
    picture = _ramp((level * 4).round() / 4, "1f5fbf", "2aa84a", "ffd21f", "f58018", "d8232a")
    # Colours alone, blue to red, are hardly darker or brighter than their neighbours.
    shade = 1 + 1.6 * _blocky(s.patch, 8)
    picture = picture * shade[:, :, None] + (relief * 0.5).expand_as(s.depth)[:, :, None]
    return _mix(picture.clamp(0, 1), "14202e", seam.expand_as(s.depth) * 0.55)


def _pixel(s: Shape) -> Tensor:
    tone = _blocky((0.6 * s.near + 0.55 * (s.light - 0.3) + 0.9 * s.tone).clamp(0, 1), 4)
    return _ramp((tone * 3).round() / 3, "0f380f", "306230", "8bac0f", "cadc5f")


def _mosaic(s: Shape) -> Tensor:
    u, v = _tile(s, 8)
    tone = _blocky((_tone(s) + 1.3 * s.patch).clamp(0, 1), 8)
    shade = (1 + 1.2 * _blocky(s.patch, 8))[:, :, None]
    stones = shade * _ramp((tone * 5).round() / 5, "12355b", "1f7a8c", "c8553d", "e09f3e", "e8d8b0", "fff3d6")
    grout = torch.maximum(step(u.abs(), 0.3, 0.44), step(v.abs(), 0.3, 0.44))
    return _mix(stones.clamp(0, 1), "3a332c", grout.expand_as(s.depth))


def _bricks(s: Shape) -> Tensor:
    row = torch.floor(s.y / 8)
    u = ((s.x + 8 * (row % 2)) % 16) / 16
    v = (s.y % 8) / 8
    return torch.maximum(
        1 - step(torch.minimum(u, 1 - u), 0.03, 0.1), 1 - step(torch.minimum(v, 1 - v), 0.06, 0.2)
    )


def _brick(s: Shape) -> Tensor:
    picture = _ramp(_tone(s), "5a1c10", "b04428", "dd6a48", "ffb48c")
    return _mix(picture, "d9d0c4", _bricks(s).expand_as(s.depth) * (0.35 + 0.55 * s.light))


def _paper(s: Shape) -> Tensor:
    level = ((s.depth + 1.4 * s.tone).clamp(0, 1) * 5).round()
    shadow = F.pad(level, (3, 0, 3, 0), mode="replicate")[..., :-3, :-3]
    picture = _ramp(level / 5, "243b6b", "3c6e91", "67a79c", "f2c57c", "ee8b62", "fbeee0")
    return picture * (1 - 0.5 * (shadow > level + 0.5).float())[:, :, None]


def _rainbow(s: Shape) -> Tensor:
    hue = (s.level * 2.5)[:, :, None] + constant((0.0, 1 / 3, 2 / 3), s.depth.device).view(1, 1, 3, 1, 1)
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * hue)
    return (0.08 + 0.92 * wave) * (0.45 + 0.6 * s.light + 0.8 * s.tone)[:, :, None].clamp(0, 1)


def _crystal(s: Shape) -> Tensor:
    facets = 0.5 + 0.2 * (s.facing * 1.5).round() + 0.15 * (s.rising * 1.5).round() + 0.9 * s.tone
    picture = _ramp(
        (facets * (0.3 + 0.7 * s.near)).clamp(0, 1), "14052b", "4b1a8a", "9b4fe0", "e3b5ff", "ffffff"
    )
    return _mix(picture, "ffe9ff", step(s.rim, 0.4, 0.9) * 0.6)


def _clay(s: Shape, code: str) -> Tensor:
    matte = 0.22 + 1.15 * s.light * (0.4 + 0.6 * s.near) + 0.5 * s.tone
    return (_rgb(code, s.depth) * matte[:, :, None]).clamp(0, 1)


def _plastic(s: Shape, code: str) -> Tensor:
    body = (_rgb(code, s.depth) * (0.35 + 1.1 * s.light + 0.5 * s.tone)[:, :, None]).clamp(0, 1)
    body = _mix(_flat("e9edf2", s), body, s.near)
    return _mix(body, "ffffff", step(s.light, 0.74, 0.84) * s.near * 0.85)


def _wool(s: Shape, code: str) -> Tensor:
    u, _ = _tile(s, 16)
    row = (s.y - 16 * u.abs()) / 8 + 0.2
    stitch = _line(row, 0.35, 0.25) * (1 - 0.25 * (row.round() % 2))  # every other row is darker
    gap = torch.maximum(step(u.abs(), 0.4, 0.5), 1 - step(u.abs(), 0.02, 0.1))
    yarn = (0.45 + 0.55 * stitch) * (1 - 0.5 * gap)
    lit = (0.3 + 1.3 * s.light * (0.45 + 0.55 * s.near) + 1.8 * s.patch).clamp(min=0.1)
    return (_rgb(code, s.depth) * (yarn * lit)[:, :, None]).clamp(0, 1)


def _neon(s: Shape, code: str, second: str = "08f7fe") -> Tensor:
    glow = _rgb(code, s.depth) * (0.85 * s.rim + 0.12 * s.near)[:, :, None]
    far = _rgb(second, s.depth) * (s.rim * (1 - s.near) * 0.8)[:, :, None]
    glow = glow + _rgb(code, s.depth) * (1.6 * s.near * (s.tone + 0.05).clamp(min=0))[:, :, None]
    picture = _rgb("06030f", s.depth) + glow * s.near[:, :, None] + far
    return _mix(picture.clamp(0, 1), "ffffff", s.edge * s.near)


_OWN_COLOUR = {"clay": "c8643c", "plastic": "27b3c4", "wool": "b8303a", "neon": "ff2fd0"}
_MADE_OF: dict[str, Callable[[Shape, str], Tensor]] = {
    "clay": _clay,
    "plastic": _plastic,
    "wool": _wool,
    "neon": _neon,
}


def _in_own_colour(look: str) -> Callable[[Shape], Tensor]:
    return lambda shape: _MADE_OF[look](shape, _OWN_COLOUR[look])


def _in_colour(look: str) -> Callable[[Shape, str], Tensor]:
    return lambda shape, colour: _MADE_OF[look](shape, COLOURS[colour])


_COLOURED = {look: _in_colour(look) for look in _MADE_OF}
_LOOKS: dict[str, Callable[[Shape], Tensor]] = {
    "gold": _gold,
    "silver": _silver,
    "jade": _jade,
    "ice": _ice,
    "lava": _lava,
    "porcelain": _porcelain,
    "wood": _wood,
    "chocolate": _chocolate,
    "zebra": _zebra,
    "tiger": _tiger,
    "leopard": _leopard,
    "blueprint": _blueprint,
    "thermal": _thermal,
    "xray": _xray,
    "hologram": _hologram,
    "map": _map,
    "sketch": _sketch,
    "engraving": _engraving,
    "comic": _comic,
    "lego": _lego,
    "pixel": _pixel,
    "mosaic": _mosaic,
    "brick": _brick,
    "paper": _paper,
    "rainbow": _rainbow,
    "crystal": _crystal,
    **{look: _in_own_colour(look) for look in _MADE_OF},
}


def _curtain(s: Shape) -> Tensor:
    fold = 0.5 + 0.5 * torch.sin(2 * torch.pi * s.x / 16)
    return _ramp((fold * (0.5 + 0.5 * s.light)).clamp(0, 1), "3a0408", "a5121c", "e83a3e")


def _grid(s: Shape) -> Tensor:
    lines = torch.maximum(_line(s.x / 16, 0.06, 0.1), _line(s.y / 16, 0.06, 0.1))
    return _mix(_flat("0a0420", s), "e21fc8", lines.expand_as(s.depth))


def _meadow(s: Shape) -> Tensor:
    u, v = _tile(s, 16)
    blades = 0.5 + 0.5 * torch.sin(2 * torch.pi * (s.x / 4 + 0.5 * torch.sin(2 * torch.pi * s.y / 16)))
    grass = _ramp(blades.expand_as(s.depth), "1d5c1a", "4ea12c")
    flower = 1 - step(((u - 0.2) ** 2 + (v + 0.15) ** 2).sqrt(), 0.08, 0.16)
    return _mix(grass, "fff27a", flower.expand_as(s.depth))


def _brick_wall(s: Shape) -> Tensor:
    return (
        _mix(_flat("a5402a", s), "ddd3c6", _bricks(s).expand_as(s.depth))
        * (0.55 + 0.45 * s.light)[:, :, None]
    )


BACKGROUND_PAINTERS: dict[str, Callable[[Shape], Tensor]] = {
    "black": lambda s: _flat("050507", s),
    "white": lambda s: _flat("fbfbf9", s),
    "sky": lambda s: _flat("6fb9f2", s),
    "bricks": _brick_wall,
    "meadow": _meadow,
    "curtain": _curtain,
    "grid": _grid,
    "sunset": lambda s: _ramp((s.depth * 2).clamp(0, 1), "ff7a2e", "8c2f6b"),
}

LOOKS = tuple(_LOOKS)
COLOURED = tuple(_MADE_OF)
BACKGROUNDS = tuple(BACKGROUND_PAINTERS)
