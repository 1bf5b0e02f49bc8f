"""Lines control: dark lines on white, by VACE's scribble network or, without its file, by filters (XDoG)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.frames import LUMA_WEIGHTS
from streaming.modules.scribble import ScribbleNetwork

# XDoG (Winnemöller and others, 2012), for a picture of _HEIGHT rows; the blur grows with the picture.
_HEIGHT = 144
_SIGMA, _RATIO = 0.9, 1.6  # of the narrow blur in pixels; of the wide one to it
_SHARPNESS, _THRESHOLD, _STEEPNESS = 18.0, 0.6, 9.0
_DARKEST, _BRIGHTEST = 0.02, 0.98  # of a frame's pixels, where brightness is stretched to 0 and 1
_GRID = 4  # every so many rows and columns tell what a frame's brightness is


def lines_of(camera: Tensor, network: ScribbleNetwork | None = None) -> Tensor:
    """camera (T, 3, H, W) RGB in [-1, 1] -> (T, H, W) float32 in [-1, 1], white = +1. Frame by frame."""
    if network is None:
        return xdog(camera)
    weight = network.weight
    drawn = network(camera.to(weight.device, weight.dtype) * 0.5 + 0.5)
    # The annotator cuts to 256 levels, and does not round.
    return drawn[:, 0].float().mul_(255).floor_().clamp_(0, 255).div_(127.5).sub_(1)


def xdog(camera: Tensor) -> Tensor:
    """As `lines_of`, by differences of Gaussian blurs."""
    weights = camera.new_tensor(LUMA_WEIGHTS, dtype=torch.float32).view(1, 3, 1, 1)
    luma = _stretched((camera.float() * weights).sum(1))
    sigma = _SIGMA * camera.shape[2] / _HEIGHT
    narrow, wide = blurred(luma, sigma), blurred(luma, _RATIO * sigma)
    difference = (1 + _SHARPNESS) * narrow - _SHARPNESS * wide
    soft = 1 + torch.tanh(_STEEPNESS * (difference - _THRESHOLD))
    return torch.where(difference >= _THRESHOLD, 1.0, soft).mul_(2).sub_(1).clamp_(-1, 1)


def _stretched(luma: Tensor) -> Tensor:
    """(T, H, W) of any range -> 0 ... 1 between the darkest and the brightest of each frame; flat: 1."""
    some = luma[:, ::_GRID, ::_GRID].flatten(1)
    low, high = torch.quantile(some, some.new_tensor([_DARKEST, _BRIGHTEST]), dim=1)[..., None, None]
    stretched = (luma - low) / (high - low)
    return torch.where(high > low, stretched, 1.0).clamp_(0, 1)


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """(T, H, W) by a Gaussian of `sigma` pixels; the border is repeated."""
    reach = int(3 * sigma) + 1
    at = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    weights = torch.exp(-at.square() / (2 * sigma**2))
    weights /= weights.sum()
    x = F.pad(pictures[:, None], [reach] * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]
