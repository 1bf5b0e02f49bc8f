"""Depth smoothed over time along the motion of the picture: what moves takes its past along, what is new has
none.

A plain average over time smears depth behind whatever moves. Here every pixel looks up where it was in the
frame before (a coarse optical flow, a few convolutions) and keeps its past only as far as the picture there
really looks the same. The rest takes the new depth as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.frames import LUMA_WEIGHTS, channels

_MOST = 0.9  # of the past kept by a still pixel at smoothing 1: an average over ten frames
_ALIKE = 0.06  # difference of grey, in [-1, 1], at which the past counts exp(-1): eight grey levels
_BETTER = 0.1  # by how much a place elsewhere must look more alike than the same place
_LEVELS = (8, 4, 2)  # pixels (of a half-size picture) per cell of the flow, coarse to fine
_TEXTURE = 1e-3  # squared slope per cell below which flow has nothing to hold on to


def smooth(
    depth: Tensor,
    pictures: Tensor,
    gain: Tensor,
    offset: Tensor,
    before: Tensor,
    before_picture: Tensor,
    strength: Tensor,
) -> Tensor:
    """Depth (T, H, W), smoothed; causal, and the same however a stream is cut into calls.

    `pictures` are the frames as `half_res_luma` gives them; gain * picture + offset, (T,) each, has the
    brightness of the picture before. `before` (H, W) and `before_picture` are the smoothed depth and the
    picture of the frame before. `strength` (T,) 0 ... 1; 0 also for a frame that nothing joins to the one
    before.
    """
    earlier = torch.cat([before_picture[None], pictures[:-1]])
    flow, alike = _follow(pictures * gain.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1), earlier)
    height, width = depth.shape[1:]
    flow, alike = (F.interpolate(x, (height, width), mode="bilinear") for x in (flow, alike))
    keep = alike[:, 0] * (_MOST * strength).view(-1, 1, 1)
    lookup = _identity(height, width, depth.device) + flow.permute(0, 2, 3, 1)
    smoothed = torch.empty_like(depth)
    for t in range(len(depth)):
        before = torch.lerp(depth[t], _sample(before[None, None], lookup[t : t + 1])[0, 0], keep[t])
        smoothed[t] = before
    return smoothed


def half_res_luma(frames: Tensor) -> Tensor:
    """RGB (T, 3, H, W) in [-1, 1] -> (T, 1, H // 2, W // 2) grey: what `smooth` sees of the frames."""
    small = F.avg_pool2d(frames, 2)  # also rids the camera's picture of half its noise
    return (small * channels(LUMA_WEIGHTS, small.device)).sum(1, keepdim=True)


def _follow(pictures: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures each (T, 1, h, w) -> where pixels came from (T, 2, h, w), as shares of the half side to
    add to their place, and how sure that is (T, 1, h, w), 0 ... 1."""
    flow = _flow(pictures, earlier)
    height, width = pictures.shape[2:]
    lookup = _identity(height, width, pictures.device) + flow.permute(0, 2, 3, 1)
    inside = (lookup.abs().amax(-1) <= 1)[:, None]  # what comes in over the edge of the picture is new
    moved = _alike(pictures, _sample(earlier, lookup)) * inside
    stayed = _alike(pictures, earlier)
    # Where nothing moves, flow finds noise to follow: it has to be better by something.
    follows = moved > stayed + _BETTER
    return flow * follows, torch.where(follows, moved, stayed)


def _alike(pictures: Tensor, others: Tensor) -> Tensor:
    """(T, 1, h, w) 0 ... 1: how far two pictures look the same around each pixel."""
    # The worst around: next to an edge that moved, depth is moving though grey may not show it.
    worst = F.max_pool2d((pictures - others).abs(), 3, 1, 1)
    return torch.exp(-(worst / _ALIKE).square())


def _flow(pictures: Tensor, earlier: Tensor) -> Tensor:
    """From each pixel to where it was: (T, 2, h, w), x and y in shares of the half side, as `grid_sample`
    counts."""
    count, _, height, width = pictures.shape
    flow = pictures.new_zeros(count, 2, 1, 1)
    for cell in _LEVELS:
        if min(height, width) >= 4 * cell:
            now, then = F.avg_pool2d(pictures, cell), F.avg_pool2d(earlier, cell)
            flow = _improve(F.interpolate(flow, now.shape[2:], mode="bilinear"), now, then)
    return F.interpolate(flow, (height, width), mode="bilinear")


def _improve(flow: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """One step of Lucas and Kanade (1981) at one level: least squares over windows of 5 x 5 cells."""
    height, width = now.shape[2:]
    lookup = _identity(height, width, now.device) + flow.permute(0, 2, 3, 1)
    moved = _sample(then, lookup)
    padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")
    slope_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    slope_y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    difference = now - moved
    products = torch.cat(
        [slope_x * slope_x, slope_y * slope_y, slope_x * slope_y, slope_x * difference, slope_y * difference],
        dim=1,
    )
    xx, yy, xy, xd, yd = F.avg_pool2d(products, 5, 1, 2, count_include_pad=False).split(1, dim=1)
    xx, yy = xx + _TEXTURE, yy + _TEXTURE
    determinant = xx * yy - xy * xy
    step_x = ((yy * xd - xy * yd) / determinant).clamp(-1, 1)
    step_y = ((xx * yd - xy * xd) / determinant).clamp(-1, 1)
    return flow + torch.cat([step_x * (2 / width), step_y * (2 / height)], dim=1)


def _identity(height: int, width: int, device: torch.device) -> Tensor:
    """(1, height, width, 2): every pixel's own place, x and y in [-1, 1]."""
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]


def _sample(pictures: Tensor, lookup: Tensor) -> Tensor:
    return F.grid_sample(pictures, lookup, padding_mode="border", align_corners=False)
