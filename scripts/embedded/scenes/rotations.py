"""Rotations of a scene's primitives and of its camera."""

import torch
from torch import Tensor


def turn_matrix(angles: Tensor) -> Tensor:
    """Angles (..., 3) about z, x, y in radians -> rotation matrices (..., 3, 3)."""
    (cz, cx, cy), (sz, sx, sy) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    one, zero = torch.ones_like(cz), torch.zeros_like(cz)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).unflatten(-1, (3, 3))

    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    return about_y @ about_x @ about_z
