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
    """How many complex pairs of a head turn with time, height and width. Raises ValueError for an odd head
    size."""
    if head_dim < 6 or head_dim % 2:
        raise ValueError(f"head_dim must be even and at least 6, got {head_dim}")
    pairs = head_dim // 2
    spatial = pairs // 3
    return pairs - 2 * spatial, spatial, spatial


def _axis_angles(positions: Sequence[int], pairs: int) -> Tensor:
    frequencies = THETA ** -(torch.arange(pairs, dtype=torch.float64) / pairs)
    return torch.outer(torch.tensor(positions, dtype=torch.float64), frequencies)


def rope_table(positions: Sequence[int], head_dim: int) -> Tensor:
    """Unit complex numbers of every pair with all three axes at the same position: (P, head_dim/2)
    complex128."""
    angles = torch.cat([_axis_angles(positions, pairs) for pairs in axis_pairs(head_dim)], dim=1)
    return torch.polar(torch.ones_like(angles), angles)


@lru_cache(maxsize=16)
def _spatial_rotation(height: int, width: int, head_dim: int, device: torch.device) -> Tensor:
    time_pairs, height_pairs, width_pairs = axis_pairs(head_dim)
    rows = _axis_angles(range(height), height_pairs)[:, None].expand(height, width, height_pairs)
    columns = _axis_angles(range(width), width_pairs)[None].expand(height, width, width_pairs)
    still = torch.zeros(height, width, time_pairs, dtype=torch.float64)
    angles = torch.cat([still, rows, columns], dim=2).flatten(0, 1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(device)


def rotation(frames: Sequence[int], height: int, width: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotation of the tokens of `frames` (latent indices, any size) on a `height` x `width` token grid.

    Returns (len(frames) * height * width, head_dim/2) complex64, tokens ordered frame, row, column.
    """
    time_pairs = axis_pairs(head_dim)[0]
    angles = torch.zeros(len(frames), head_dim // 2, dtype=torch.float64)
    angles[:, :time_pairs] = _axis_angles(frames, time_pairs)
    in_time = torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(device)
    return (in_time[:, None] * _spatial_rotation(height, width, head_dim, device)[None]).flatten(0, 1)


def rotate(x: Tensor, by: Tensor) -> Tensor:
    """Rotate (..., L, N, D) by (L, D/2) complex64; the product is float32, the result has the dtype of x."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * by[:, None]).flatten(-2).to(x.dtype)
