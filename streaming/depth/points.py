"""Depth from a few points, as a person sets them: the value at each, and in between what is near."""

from collections.abc import Sequence

import torch
from torch import Tensor

from streaming.api import Point

_POWER = 3  # of the distance: at 2, every point would pull at the whole picture


def depth_of_points(points: Sequence[Point], height: int, width: int, device: torch.device | str) -> Tensor:
    """Points (x, y, value), all 0 ... 1 -> (height, width) float32 in [-1, 1], near = +1.

    Shepard's inverse-distance weights: never beyond the values given, exact at the points' pixels, and work
    that grows with points times pixels only. A thin plate would be smoother and overshoots between points
    that lie close together. Points in one pixel are averaged. Raises ValueError without a point.
    """
    if not points:
        raise ValueError("points: expected at least one, got none")
    x, y, value = torch.tensor(points, dtype=torch.float32, device=device).unbind(1)
    # Where a point lies counts in pixels, which are square; 0 and 1 are the middles of the outer pixels.
    column, row = (x * (width - 1)).round(), (y * (height - 1)).round()
    rows = torch.arange(height, device=device).view(-1, 1)
    columns = torch.arange(width, device=device).view(1, -1)
    total = torch.zeros(height, width, device=device)
    weights = torch.zeros(height, width, device=device)
    for index in range(len(points)):
        squared = (rows - row[index]).square() + (columns - column[index]).square()
        # In its own pixel a point outweighs 63 others at a distance of 1.
        weight = squared.clamp(min=1e-4) ** (-_POWER / 2)
        total += weight * value[index]
        weights += weight
    return (total / weights).mul_(2).sub_(1).clamp_(-1, 1)
