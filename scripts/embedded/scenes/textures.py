"""Textures of things: plaster, stripes, tiles, wood, shelves and clutter, drawn anew for every batch.

bank = textures(dice)                     # (M, S, S, 3) linear RGB
rgb = sample_textures(bank, which, uv)    # (..., 3)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.scenes.dice import Dice

_TEXELS = 128  # side of a texture
_KINDS, PER_KIND = 9, 10  # textures drawn anew for every batch


def _clouds(dice: Dice, count: int) -> Tensor:
    """Noise of several octaves (count, S, S) in [0, 1]; rough and smooth ones."""
    total = torch.zeros(count, 1, _TEXELS, _TEXELS, device=dice.device)
    keep, weight = dice.uniform(0.35, 1.0, count, 1, 1, 1), 1.0
    for cells in (3, 6, 12, 24, 48, 96):
        noise = dice.uniform(0, 1, count, 1, cells, cells)
        total = total + weight * F.interpolate(noise, size=(_TEXELS, _TEXELS), mode="bilinear")
        weight = weight * keep
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return ((total - low) / (high - low))[:, 0]


def textures(dice: Dice) -> Tensor:
    """The batch's textures: (M, S, S, 3) linear RGB; M = kinds x per kind, kinds in blocks."""
    n, count, device = PER_KIND, _KINDS * PER_KIND, dice.device
    u = torch.arange(_TEXELS, device=device).float() / _TEXELS
    v = u[:, None]
    clouds = _clouds(dice, count)
    cloud = list(clouds.split(n))

    def wave(along: Tensor, rate_low: float, rate_high: float) -> Tensor:
        rate = dice.scale(rate_low, rate_high, n, 1, 1).round()
        sharp = dice.scale(0.7, 12, n, 1, 1)
        return (torch.sin(along * rate * 2 * math.pi) * sharp).clamp(-1, 1) / 2 + 0.5

    def runs(p: Tensor) -> Tensor:
        """Numbers (n, S) that grow by one at random places: books in a row, panes, planks."""
        return (dice.uniform(0, 1, n, _TEXELS) < p).cumsum(1)

    sharp = dice.scale(3, 30, n, 1, 1)
    bend = dice.uniform(0, 0.15, n, 1, 1)
    rows, columns = dice.scale(2, 12, n, 1, 1).round(), dice.scale(2, 12, n, 1, 1).round()
    shifted = u * columns + 0.5 * ((v * rows).floor() % 2) * dice.chance(0.5, n, 1, 1)
    joint = dice.uniform(0.03, 0.12, n, 1, 1)
    fields = torch.cat(
        [
            cloud[0],  # plaster, fog
            ((cloud[1] - 0.5) * sharp).sigmoid(),  # blotches, leaves
            wave(u + bend * cloud[2], 3, 24),  # stripes
            (wave(u, 3, 16) + wave(v, 3, 16)) / 2,  # plaid
            torch.maximum((shifted % 1 < joint).float(), ((v * rows) % 1 < joint).float()),  # tiles, bricks
            torch.sin((v * 3 + cloud[5] * 0.4 + dice.uniform(0, 0.3, n, _TEXELS, 1)) * 20) / 2 + 0.5,  # wood
            cloud[6] * 0.2,  # almost plain
        ]
    )
    ends = dice.colour(len(fields), 2)[:, None, None]
    # Two colours that are not far apart are what most things have.
    close = dice.uniform(0.1, 1.0, len(fields), 1, 1, 1)
    other = ends[..., 0, :] * (1 - close) + ends[..., 1, :] * close
    painted = ends[..., 0, :] + (other - ends[..., 0, :]) * fields[..., None]
    # Blocks: shelves, patchwork, far windows, screens; every block has a colour of its own.
    across, down = runs(dice.scale(0.02, 0.4, n, 1)), runs(dice.scale(0.01, 0.12, n, 1))
    number = (across[:, None] * 7919 + down[:, :, None] * 104729) % 251
    palette = dice.colour(n, 251)
    blocks = palette.gather(1, number.flatten(1)[..., None].expand(-1, -1, 3)).unflatten(
        1, (_TEXELS, _TEXELS)
    )
    edges = torch.ones_like(number, dtype=torch.float32)
    edges[:, :, 1:] -= 0.6 * (number[:, :, 1:] != number[:, :, :-1])
    blocks = blocks * torch.where(dice.chance(0.6, n, 1, 1), edges, 1.0)[..., None]
    # And clutter: pieces of the other textures side by side.
    pieces = (cloud[8] * 4).long() * 31 + (number % 17)
    chosen = (pieces + dice.pick(97, n, 1, 1)) % len(painted)
    rows_, columns_ = torch.arange(_TEXELS, device=device)[:, None], torch.arange(_TEXELS, device=device)
    clutter = painted[chosen, rows_, columns_]
    bank = torch.cat([painted, blocks, clutter])
    grain = 1 + dice.uniform(0, 0.25, count, 1, 1, 1) * (clouds.roll(1, 0)[..., None] - 0.5)
    return (bank * grain).clamp(0, 1.2)


def sample_textures(bank: Tensor, which: Tensor, uv: Tensor) -> Tensor:
    """Textures `which` (...) of the bank (M, S, S, 3) at uv (..., 2), in textures -> (..., 3)."""
    uv = uv * _TEXELS
    first = uv.floor()
    share = uv - first
    flat = bank.reshape(-1, 3)

    def texel(du: int, dv: int) -> Tensor:
        at = (first.long() + constant((du, dv), uv.device).long()) % (2 * _TEXELS)
        at = torch.where(at < _TEXELS, at, 2 * _TEXELS - 1 - at)  # mirrored: no seams
        return flat[(which * _TEXELS + at[..., 1]) * _TEXELS + at[..., 0]]

    across, down = share[..., :1], share[..., 1:]
    above = texel(0, 0) * (1 - across) + texel(1, 0) * across
    below = texel(0, 1) * (1 - across) + texel(1, 1) * across
    return above * (1 - down) + below * down
