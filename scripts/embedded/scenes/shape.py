"""Shape of what a camera sees: what looks read off its depth and off its grey levels.

    shape = shape_of(depth, gray)     # both (B, T, H, W) in [0, 1]; near = 1, white = 1

Where gray is silent, 0.5 everywhere, the shape is that of depth alone: so looks need not know which of the
two the model was given.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.constants import constant

RELIEF = 0.2  # depth that a change of gray by 1 stands for
SHADE = 1.5  # how much of gray itself is light and shade: relief alone turns one's eyes inside out
INK = (0.02, 0.05)  # how much darker than around a line begins to be drawn, and is drawn in full


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
    tone: Tensor  # -0.5 ... 0.5: darker ... brighter than what is around; 0 where gray is silent
    patch: Tensor  # -0.5 ... 0.5: the same without what is finer than 4 pixels, and bolder
    ink: Tensor  # 0 ... 1: lines darker than both of their sides
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
            tone=self.tone[only],
            patch=self.patch[only],
            ink=self.ink[only],
            x=self.x,
            y=self.y,
        )


def shape_of(depth: Tensor, gray: Tensor | None = None) -> Shape:
    """Depth (B, T, H, W), 0 far ... 1 near; gray the same, 0 black ... 1 white, 0.5 and None: silent.

    Bright lines stand out of the surface and dark ones are carved in: brows, lids and lips are a few pixels
    wide, and depth has nothing of them.
    """
    kernel = constant((1.0, 4.0, 6.0, 4.0, 1.0), depth.device) / 16
    flat = depth.flatten(0, 1)[:, None]
    flat = F.pad(flat, (2, 2, 2, 2), mode="replicate")
    smooth = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))
    gx, gy = _slopes(smooth[:, 0].unflatten(0, depth.shape[:2]))
    steep = (gx * gx + gy * gy).sqrt()
    if gray is None:
        gray = torch.full_like(depth, 0.5)
    fine, line, soft, wide, widest = (_blurred(gray, sigma) for sigma in (0.8, 2.4, 6.0, 10.0, 14.0))
    band = fine - soft
    across, down = _slopes(band)
    gx, gy = gx + RELIEF * across, gy + RELIEF * down
    ink = step(line - fine, *INK)
    # Like a unit normal: gentle slopes inside a body count nearly as much as the jump at its outline.
    bend = (gx * gx + gy * gy + 0.012**2).sqrt()
    height, width = depth.shape[2:]
    y = torch.arange(height, device=depth.device, dtype=depth.dtype)[None, None, :, None]
    x = torch.arange(width, device=depth.device, dtype=depth.dtype)[None, None, None, :]
    return Shape(
        depth=smooth[:, 0].unflatten(0, depth.shape[:2]),
        level=_with_steps(smooth)[:, 0].unflatten(0, depth.shape[:2]),
        steep=steep,
        light=(0.5 + 0.5 * (0.6 * gx + 0.8 * gy) / bend + SHADE * band).clamp(0, 1),
        facing=gx / bend,
        rising=gy / bend,
        edge=torch.maximum(step(steep, 0.03, 0.08), ink),
        rim=step(steep, 0.006, 0.04),
        near=step(smooth[:, 0].unflatten(0, depth.shape[:2]), 0.4, 0.48),
        tone=(1.7 * (fine - wide)).clamp(-0.5, 0.5),
        patch=(2.2 * (line - widest)).clamp(-0.5, 0.5),
        ink=ink,
        x=x,
        y=y,
    )


def _slopes(field: Tensor) -> tuple[Tensor, Tensor]:
    """Change of a field (B, T, H, W) to the right and downwards, a pixel."""
    padded = F.pad(field, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return across, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2


def _blurred(field: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, T, H, W), the border's pixels repeated beyond it; wide ones are taken of a smaller
    picture, which costs a tenth and shows no difference."""
    shrink = 4 if sigma > 8 else 2 if sigma > 4 else 1
    sigma /= shrink
    reach = int(3 * sigma) + 1
    weights = [math.exp(-((n / sigma) ** 2) / 2) for n in range(-reach, reach + 1)]
    kernel = constant(tuple(w / sum(weights) for w in weights), field.device).to(field.dtype)
    flat = F.avg_pool2d(field.flatten(0, 1)[:, None], shrink)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    if shrink > 1:
        flat = F.interpolate(flat, size=field.shape[2:], mode="bilinear")
    return flat[:, 0].unflatten(0, field.shape[:2])


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
