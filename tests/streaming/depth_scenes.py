"""Scenes with known depth, and an estimator that reads it there: for tests of what is done to estimates."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.depth.range import DepthRange

HEIGHT, WIDTH = 48, 64
CHUNKS = (9, 12, 12, 12)


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(height, width), grey around 0."""
    noise = torch.randn(1, 1, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic")[0, 0].mul(0.25).clamp(-0.9, 0.9)


def scene(count: int, *, speed: float = 0.0, seed: int = 0, first: int = 0, centre: int = 20) -> Tensor:
    """A disc before a wall, moving `speed` pixels a frame to and fro over 12: (T, 3, H, W).

    Red is what is seen, in grey; blue is depth, which luma hardly sees; and a corner of green counts frames.
    """
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    frames = torch.zeros(count, 3, HEIGHT, WIDTH)
    wall, skin = texture(seed), texture(seed + 1)
    for index in range(count):
        moved = 12 - abs(round(speed * (first + index)) % 24 - 12)
        inside = (x - centre - moved) ** 2 + (y - 24) ** 2 < 12**2
        frames[index, 0] = torch.where(inside, skin.roll(moved, dims=1) + 0.2, wall - 0.2)
        frames[index, 2] = torch.where(inside, 0.9, -0.9 + 0.6 * y / HEIGHT)
        frames[index, 1, 0, 0] = (first + index) / 1000
    return frames


def another_scene(count: int) -> Tensor:
    """One that shares nothing with `scene`, its range of depth included."""
    frames = scene(count, seed=40, centre=44)
    frames[:, 2] = 0.2 * frames[:, 2] - 0.5
    return frames


def truth(frames: Tensor) -> Tensor:
    """The depth that lies in the frames, (T, H, W) within [-1, 1]."""
    return frames[:, 2]


class Reads:
    """Depth as it lies in the frames, after `spoil(depth, numbers)`, numbers (T,) counting frames from 0."""

    def __init__(
        self, spoil: Callable[[Tensor, Tensor], Tensor] | None = None, known: DepthRange | None = None
    ) -> None:
        self._spoil, self._known = spoil, known or DepthRange()
        self.calls = 0

    def estimate(self, frames: Tensor) -> Tensor:
        self.calls += 1
        numbers = (frames[:, 1, 0, 0] * 1000).round().long()
        depth = 5 + 2 * truth(frames)
        return self._spoil(depth, numbers) if self._spoil else depth

    def new_range(self) -> DepthRange:
        return self._known


def wobble(depth: Tensor, numbers: Tensor) -> Tensor:
    """Another scale and shift for every frame, as networks have it."""
    draws = torch.randn(2, 1000, generator=torch.Generator().manual_seed(5))
    scale = (0.1 * draws[0, numbers]).exp().view(-1, 1, 1)
    return depth * scale + 0.3 * draws[1, numbers].view(-1, 1, 1)


def flicker(values: Tensor, where: Tensor) -> float:
    """Deviation over time, root mean square over the pixels `where` (H, W)."""
    return values.var(0, correction=0)[where].mean().sqrt().item()
