"""Pillow's image resize on any device: Pillow itself on a CPU, its arithmetic with tensors elsewhere.

Networks that came with a Pillow preprocessor saw exactly these pixels. Torch's own antialiased resize differs
by up to two levels, and not at all the same way on CPU and GPU. The arithmetic: weights in 22-bit fixed
point, a horizontal pass, rounding to 8 bits, a vertical pass; or the passes swapped, where the installed
Pillow does so. It agrees with Pillow level for level.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

_WEIGHT_BITS = 32 - 8 - 2  # fraction bits of a weight: 32 less 8 of the pixel, a sign and an overshoot


def pillow_resize(images: Tensor, height: int, width: int, resample: Image.Resampling) -> Tensor:
    """(..., H, W) uint8 -> (..., height, width) uint8, as `PIL.Image.resize` of each picture and colour.

    `resample` is one of RESAMPLING; anything else is a KeyError.
    """
    if images.device.type != "cpu" or resample not in RESAMPLING:
        return resize_tensor(images, height, width, resample)
    planes = images.reshape(-1, *images.shape[-2:]).numpy()
    resized = [np.asarray(Image.fromarray(plane).resize((width, height), resample)) for plane in planes]
    return torch.from_numpy(np.stack(resized)).view(*images.shape[:-2], height, width)


def resize_tensor(images: Tensor, height: int, width: int, resample: Image.Resampling) -> Tensor:
    """`pillow_resize` by tensor arithmetic, on the device of `images`."""
    rows, columns = images.shape[-2], images.shape[-1]
    passes = [(images.ndim - 1, width), (images.ndim - 2, height)]
    if _down_first(rows - height, columns - width):
        passes.reverse()
    for axis, size in passes:
        images = _resize_axis(images, axis, size, resample)
    return images


_SWAPS = int(PIL.__version__.partition(".")[0]) >= 13


def _down_first(rows: int, columns: int) -> bool:
    """Whether Pillow resizes the height first, given how many rows and columns go: from release 13 on, where
    over twice as many rows do. Between the passes comes rounding, and clamping of what overshoots."""
    return _SWAPS and rows > max(0, 2 * columns)


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    """Keys' cubic convolution with a = -0.5."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * -0.5
    return 0.0


_Kernel = tuple[Callable[[float], float], float]  # weight at a distance in source pixels, and where it ends
RESAMPLING: dict[Image.Resampling, _Kernel] = {
    Image.Resampling.BILINEAR: (_triangle, 1.0),
    Image.Resampling.BICUBIC: (_cubic, 2.0),
}


def _resize_axis(images: Tensor, axis: int, size: int, resample: Image.Resampling) -> Tensor:
    if images.shape[axis] == size:
        return images
    indices, weights = _taps(images.shape[axis], size, resample, images.device)
    shape = [1] * images.ndim
    shape[axis] = size
    total = torch.full(
        (), 1 << (_WEIGHT_BITS - 1), dtype=torch.int32, device=images.device
    )  # rounds to nearest
    for index, weight in zip(indices, weights, strict=True):
        total = total + images.index_select(axis, index).int() * weight.view(shape)
    return (total >> _WEIGHT_BITS).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=32)
def _taps(before: int, after: int, resample: Image.Resampling, device: torch.device) -> tuple[Tensor, Tensor]:
    """What each of `after` pixels takes: source indices and fixed-point weights, (taps, after) each."""
    kernel, reach = RESAMPLING[resample]
    scale = before / after
    stretch = max(scale, 1.0)  # shrinking widens the kernel: that is the antialiasing
    taps = math.ceil(reach * stretch) * 2 + 1
    indices = torch.zeros(taps, after, dtype=torch.int64)
    weights = torch.zeros(taps, after, dtype=torch.int32)
    for target in range(after):
        centre = (target + 0.5) * scale
        first = max(0, int(centre - reach * stretch + 0.5))
        last = min(before, int(centre + reach * stretch + 0.5))
        raw = [kernel((source - centre + 0.5) / stretch) for source in range(first, last)]
        whole = sum(raw)
        for tap, value in enumerate(raw):
            fixed = value / whole * (1 << _WEIGHT_BITS)
            indices[tap, target] = first + tap
            weights[tap, target] = int(fixed + math.copysign(0.5, fixed))
    return indices.to(device), weights.to(device)
