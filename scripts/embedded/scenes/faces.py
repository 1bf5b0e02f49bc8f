"""Faces of camera-like pictures: what eyes and mouths do over time, and drawn faces of any size.

    expressions = sample_expressions(4, 33, generator)
    picture = draw_faces(picture, generator)    # (B, T, 3, H, W) in [0, 1]

Rendered heads (`photo.py`) are painted by depth's own geometry and small; a drawn face fills the picture, as
of somebody who sits close to the camera. No face is anybody's.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.constants import constant

FRAME_SECONDS = 1 / 16
MARKS = 10  # ellipses a clip
_SKIN = ((0.95, 0.78, 0.68), (0.84, 0.62, 0.5), (0.62, 0.42, 0.3), (0.36, 0.23, 0.17))
_HAIR = ((0.05, 0.04, 0.04), (0.25, 0.14, 0.07), (0.7, 0.55, 0.3), (0.6, 0.6, 0.6))


@dataclass(frozen=True, slots=True)
class Expressions:
    """What B faces do in T frames; all (B, T), 0 ... 1."""

    mouth: Tensor  # how far it is open
    eyes: Tensor  # how far they are open


def sample_expressions(batch: int, frames: int, generator: torch.Generator) -> Expressions:
    """Half of the faces speak, some hold their mouth open, most blink; a few stay as they are."""
    speaks, open_, rate, phase, wide, blink, still, narrow = (_uniform(generator, batch, 1) for _ in range(8))
    at = _seconds(frames, generator.device)
    swing = torch.sin((4 + 14 * rate) * at + 6.28 * phase) + 0.6 * torch.sin(
        (2 + 5 * phase) * at + 6.28 * rate
    )
    spoken = (0.3 + 0.55 * swing).clamp(0, 1) * (0.3 + 0.7 * wide)
    held = torch.where(open_ < 0.3, 0.4 + 0.6 * wide, 0.15 * wide).expand_as(spoken)
    closing = (torch.sin((1 + 4 * blink) * at + 6.28 * still) - 0.85).clamp(min=0) / 0.15
    eyes = (0.45 + 0.55 * narrow) * (1 - torch.where(blink < 0.7, closing, torch.zeros_like(closing)))
    return Expressions(torch.where(speaks < 0.55, spoken, held), eyes.clamp(0, 1))


def draw_faces(picture: Tensor, generator: torch.Generator, *, faces: int = 2, share: float = 0.4) -> Tensor:
    """`picture` (B, T, 3, H, W) in [0, 1] with up to so many drawn faces, each in a `share` of the clips."""
    for _ in range(faces):
        picture = _draw_face(picture, generator, share)
    return picture


def draw_marks(picture: Tensor, generator: torch.Generator, *, share: float = 0.5) -> Tensor:
    """`picture` (B, T, 3, H, W) in [0, 1] with drifting ellipses in a `share` of the clips: dark and bright,
    thin and round, as whatever is drawn on a face, a shirt or a wall."""
    batch, frames, _, height, width = picture.shape
    at = _seconds(frames, generator.device)

    def some(low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * _uniform(generator, batch, MARKS, 1)

    def drift(side: int) -> Tensor:
        return side * some(0.1, 0.9) + 6 * some() * torch.sin(6 * some() * at + 6.28 * some())

    cx, cy = drift(width), drift(height)
    long = 1.5 + 12 * some() ** 2
    thin = (long * some(0.15, 1.0)).clamp(min=1.0) * (1 + 0.4 * torch.sin(8 * some() * at))
    turn = 3.14 * some() * (some() < 0.5)
    level = some(0.1, 0.55) * torch.where(some() < 0.7, -1.0, 1.0)
    tint = 1 + 0.4 * (_uniform(generator, batch, MARKS, 3) - 0.5)
    level = level * (_uniform(generator, batch, 1, 1) < share)
    x, y = _pixels(picture)
    for n in range(MARKS):
        dx, dy = x - _wide(cx[:, n]), y - _wide(cy[:, n])
        c, s = _wide(turn[:, n].cos()), _wide(turn[:, n].sin())
        r = (
            ((dx * c + dy * s) / _wide(long[:, n])) ** 2 + ((dy * c - dx * s) / _wide(thin[:, n])) ** 2
        ).sqrt()
        inside = torch.sigmoid((1 - r) * _wide(thin[:, n]) * 1.5) * _wide(level[:, n])
        picture = picture + inside[:, :, None] * tint[:, None, n, :, None, None]
    return picture.clamp(0, 1)


def _draw_face(picture: Tensor, generator: torch.Generator, share: float) -> Tensor:
    batch, frames, _, height, width = picture.shape
    at = _seconds(frames, generator.device)

    def some(low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * _uniform(generator, batch, 1)

    def wave(amplitude: Tensor | float) -> Tensor:
        return amplitude * torch.sin(some(0.5, 6) * at + 6.28 * some())

    doing = sample_expressions(batch, frames, generator)
    size = height * (some(math.log(0.13), math.log(0.62))).exp()  # half of a face's height, pixels
    cx = width * some(0.1, 0.9) + size * wave(some(0.0, 0.3))
    cy = height * some(0.2, 0.8) + size * wave(some(0.0, 0.12))
    turn = some(-0.35, 0.35) + wave(some(0.0, 0.2))
    yaw = some(-0.25, 0.25) + wave(some(0.0, 0.15))
    x, y = _pixels(picture)
    dx, dy = (x - _wide(cx)) / _wide(size), (y - _wide(cy)) / _wide(size)
    c, s = _wide(turn.cos()), _wide(turn.sin())
    u, v = dx * c + dy * s, dy * c - dx * s  # 1 is half of the face's height
    w = u - _wide(yaw)  # what is on the face's front moves more than its outline
    skin, hair = (_among(colours, batch, generator) for colours in (_SKIN, _HAIR))
    side, top = _wide(some(-0.5, 0.5)), _wide(some(-0.15, 0.3))
    light = _wide(some(0.5, 1.1)) * (1 + side * u - top * v)
    pixel = _wide(size)

    def ellipse(a: Tensor, x0: float, y0: Tensor | float, rx: Tensor | float, ry: Tensor | float) -> Tensor:
        """(B, T, H, W), 1 inside of one whose centre and radii are given in half heights of the face."""
        r = (((a - x0) / rx) ** 2 + ((v - y0) / ry) ** 2).sqrt()
        smaller = ry.clamp(min=0.01) if isinstance(ry, Tensor) else ry
        return torch.sigmoid((1 - r) * smaller * pixel * 2)

    is_drawn = _wide((_uniform(generator, batch, 1) < share).float())

    def over(under: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
        return under + (colour - under) * (mask * is_drawn)[:, :, None]

    mouth, eyes = _wide(doing.mouth), 0.02 + 0.07 * _wide(doing.eyes)
    lit = light[:, :, None]
    white, dark = 0.85 * lit.clamp(0.4, 1), 0.06 * torch.ones_like(lit)
    brow_y, lip_y = _wide(some(-0.4, -0.27) + 0.04 * wave(some())), _wide(some(0.42, 0.55)) + 0.05 * mouth
    lips = _wide(some(0.16, 0.28)) * (1 - 0.2 * mouth)
    lip = skin * constant((0.8, 0.5, 0.5), skin.device).view(1, 1, 3, 1, 1)
    paired = w.abs()
    out = over(picture, hair * lit, ellipse(u, 0.0, -0.12, 0.82, 1.02))
    out = over(out, skin * lit, ellipse(u, 0.0, 0.06, _wide(some(0.62, 0.74)), 0.94))
    out = over(out, hair * lit, ellipse(w, 0.0, -0.85, 0.75, _wide(some(0.12, 0.4))))
    out = over(out, skin * lit * 0.75, ellipse(paired, 0.3, -0.14, 0.22, 0.13) * _wide(some(0.1, 0.9)))
    out = over(out, white, ellipse(paired, 0.3, -0.12, 0.14, eyes))
    out = over(out, dark, ellipse(paired, 0.3, -0.12, 0.06, 0.9 * eyes))
    out = over(out, hair * lit * 0.8, ellipse(paired, 0.3, brow_y, 0.18, _wide(some(0.02, 0.05))))
    out = over(out, skin * lit * 0.7, ellipse(w, 0.0, 0.2, 0.1, 0.05))
    out = over(out, lip * lit, ellipse(w, 0.0, lip_y, lips + 0.04, 0.05 + 0.14 * mouth))
    out = over(out, dark, ellipse(w, 0.0, lip_y, lips, 0.012 + 0.125 * mouth))
    teeth = ellipse(w, 0.0, lip_y - 0.075 * mouth, 0.7 * lips, 0.01 + 0.03 * mouth) * _wide(some() < 0.5)
    out = over(out, white, teeth * (mouth * 3).clamp(0, 1))
    rim = ellipse(paired, 0.3, -0.12, 0.25, 0.19) - ellipse(paired, 0.3, -0.12, 0.2, 0.14)
    out = over(out, dark, rim.clamp(0, 1) * _wide(some() < 0.25))
    return out.clamp(0, 1)


def _among(colours: tuple[tuple[float, ...], ...], count: int, generator: torch.Generator) -> Tensor:
    """(count, 1, 3, 1, 1): between two neighbours of the list."""
    table = constant(colours, generator.device)
    at = _uniform(generator, count) * (len(colours) - 1.001)
    share = (at % 1)[:, None]
    return (table[at.long()] * (1 - share) + table[at.long() + 1] * share)[:, None, :, None, None]


def _seconds(frames: int, device: torch.device) -> Tensor:
    return torch.arange(frames, device=device) * FRAME_SECONDS


def _pixels(picture: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.arange(picture.shape[-2], device=picture.device, dtype=torch.float32)[:, None]
    return torch.arange(picture.shape[-1], device=picture.device, dtype=torch.float32), y


def _wide(x: Tensor) -> Tensor:
    """(B, T) or (B, 1) -> beside pictures (B, T, H, W)."""
    return x[..., None, None]


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)
