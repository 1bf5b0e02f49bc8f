"""Rotary positions in three axes (time, height, width), as Wan 2.1 has them.

Adjacent elements of a head form one complex number; the pairs are split between the axes, time first. Angles
come from float64 so that they stay exact at any position: a stream may run for days, and no table has an end.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

THETA = 10000.0


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """How many complex pairs of a head rotate with time, height and width. Raises ValueError for an odd head
    size."""
    if head_dim < 6 or head_dim % 2:
        raise ValueError(f"head_dim must be even and at least 6, got {head_dim}")
    pairs = head_dim // 2
    spatial = pairs // 3
    return pairs - 2 * spatial, spatial, spatial


def _axis_angles(positions: Sequence[int], pairs: int) -> Tensor:
    return torch.outer(torch.tensor(positions, dtype=torch.float64), _frequencies(pairs))


def _frequencies(pairs: int) -> Tensor:
    return THETA ** -(torch.arange(pairs, dtype=torch.float64) / pairs)


@lru_cache(maxsize=16)
def _spatial_rotation(height: int, width: int, head_dim: int, device: torch.device) -> Tensor:
    time_pairs, height_pairs, width_pairs = axis_pairs(head_dim)
    rows = _axis_angles(range(height), height_pairs)[:, None].expand(height, width, height_pairs)
    columns = _axis_angles(range(width), width_pairs)[None].expand(height, width, width_pairs)
    still = torch.zeros(height, width, time_pairs, dtype=torch.float64)
    return _cos_sin(torch.cat([still, rows, columns], dim=2).flatten(0, 1)).to(device)[:, time_pairs:].clone()


def rotation(frames: Sequence[int], height: int, width: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotation of the tokens of `frames` (latent indices, any size) on a `height` x `width` token grid.

    Returns (len(frames) * height * width, head_dim/2, 2) float32: cosine and sine, tokens ordered frame, row,
    column. For a range on a GPU everything is computed there, so that the host waits for nothing.
    """
    time_pairs = axis_pairs(head_dim)[0]
    where = device if device.type == "cuda" else torch.device("cpu")  # others may lack float64
    if isinstance(frames, range):
        positions = torch.arange(frames.start, frames.stop, frames.step, dtype=torch.float64, device=where)
    else:
        positions = torch.tensor(frames, dtype=torch.float64, device=where)
    in_time = _cos_sin(torch.outer(positions, _time_frequencies(time_pairs, where))).to(device)
    in_space = _spatial_rotation(height, width, head_dim, device)
    shape = len(frames), height * width, -1, 2
    return torch.cat([in_time[:, None].expand(shape), in_space[None].expand(shape)], dim=2).flatten(0, 1)


@lru_cache(maxsize=16)
def _time_frequencies(pairs: int, device: torch.device) -> Tensor:
    return _frequencies(pairs).to(device)


def _cos_sin(angles: Tensor) -> Tensor:
    """(..., P) float64 -> (..., P, 2) float32."""
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float()


def rotate(x: Tensor, by: Tensor) -> Tensor:
    """Rotate (..., L, N, D) by (L, D/2, 2), cosine and sine; computed in float32, returned in the dtype of
    x."""
    pairs, by = x.float().unflatten(-1, (-1, 2)), by[:, None]
    if torch.compiler.is_compiling():  # the same product in real numbers: Inductor has no complex ones
        cos, sin = by.split(1, dim=-1)
        sign = torch.arange(-1, 2, 2, device=x.device)
        rotated = pairs * cos + pairs.flip(-1) * (sin * sign)
    else:  # one pass over memory, where the other way is ten
        rotated = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(by))
    return rotated.flatten(-2).to(x.dtype)
