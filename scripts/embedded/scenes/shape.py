"""Shape of what a camera sees: depth, and what looks read off it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.constants import constant


@dataclass(frozen=True, slots=True)
class Shape:
    """What looks are made of; all (B, T, H, W), or (1, 1, H, W) for places."""

    depth: Tensor  # 0 far ... 1 near
    level: Tensor  # the same with steps where depth jumps
    steep: Tensor  # change of depth from pixel to pixel
    light: Tensor  # 0 ... 1: how the surface faces a light at the upper left
    facing: Tensor  # -1 ... 1: left ... right slope
    rising: Tensor  # -1 ... 1: slope downwards
    edge: Tensor  # 0 ... 1: where depth jumps
    rim: Tensor  # 0 ... 1: where a surface turns away
    near: Tensor  # 0 ... 1: foreground
    x: Tensor  # pixels
    y: Tensor

    def of_clip(self, n: int) -> "Shape":
        only = slice(n, n + 1)
        return Shape(
            depth=self.depth[only],
            level=self.level[only],
            steep=self.steep[only],
            light=self.light[only],
            facing=self.facing[only],
            rising=self.rising[only],
            edge=self.edge[only],
            rim=self.rim[only],
            near=self.near[only],
            x=self.x,
            y=self.y,
        )


def shape_of(depth: Tensor) -> Shape:
    """Depth (B, T, H, W), 0 far ... 1 near."""
    kernel = constant((1.0, 4.0, 6.0, 4.0, 1.0), depth.device) / 16
    flat = depth.flatten(0, 1)[:, None]
    flat = F.pad(flat, (2, 2, 2, 2), mode="replicate")
    smooth = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")[:, 0].unflatten(0, depth.shape[:2])
    gx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    gy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    steep = (gx * gx + gy * gy).sqrt()
    # Like a unit normal: gentle slopes inside a body count nearly as much as the jump at its outline.
    bend = (gx * gx + gy * gy + 0.012**2).sqrt()
    height, width = depth.shape[2:]
    y = torch.arange(height, device=depth.device, dtype=depth.dtype)[None, None, :, None]
    x = torch.arange(width, device=depth.device, dtype=depth.dtype)[None, None, None, :]
    return Shape(
        depth=smooth[:, 0].unflatten(0, depth.shape[:2]),
        level=_with_steps(smooth)[:, 0].unflatten(0, depth.shape[:2]),
        steep=steep,
        light=0.5 + 0.5 * (0.6 * gx + 0.8 * gy) / bend,
        facing=gx / bend,
        rising=gy / bend,
        edge=step(steep, 0.03, 0.08),
        rim=step(steep, 0.006, 0.04),
        near=step(smooth[:, 0].unflatten(0, depth.shape[:2]), 0.4, 0.48),
        x=x,
        y=y,
    )


def _with_steps(smooth: Tensor) -> Tensor:
    """Smooth depth (N, 1, H, W) whose slopes across outlines are steps. What counts depth, as bands and rings
    do, would run through several of them within such a slope: teeth that no latent could carry."""
    low, high = smooth, smooth
    for size, pad in (((1, 5), (0, 2)), ((5, 1), (2, 0))):
        high = F.max_pool2d(high, size, 1, pad)
        low = -F.max_pool2d(-low, size, 1, pad)
    rise = high - low
    stepped = low + rise * step((smooth - low) / rise.clamp(min=1e-6), 0.3, 0.7)
    return smooth + (stepped - smooth) * step(rise, 0.08, 0.16)


def step(x: Tensor, low: float, high: float) -> Tensor:
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
