"""Figures of generated pictures: pure functions of frames (T, 3, H, W) in [0, 1] and of numbers."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.frames import LUMA_WEIGHTS

HALF_A_GREY_LEVEL = 0.5 / 255


def sharpness(frames: Tensor, truth: Tensor) -> float:
    """Laplacian energy of `frames` over that of `truth`: 0 flat, 1 as sharp; noise counts as well."""
    return _energy(_laplacian(frames)) / max(_energy(_laplacian(truth)), 1e-12)


def detail(frames: Tensor, truth: Tensor) -> float:
    """How much of the truth's own Laplacian is there, 1 all. Unlike `sharpness`, noise gives nothing."""
    found, there = _laplacian(frames), _laplacian(truth)
    return (found * there).mean().item() / max(_energy(there), 1e-12)


def psnr(frames: Tensor, truth: Tensor) -> float:
    """Decibels of all frames together; the same picture gives 100."""
    error = (frames.double() - truth.double()).square().mean().item()
    return -10 * math.log10(max(error, 1e-10))


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of each frame: (T, H, W) twice -> (T,); 0 where one is the same everywhere."""
    a, b = (x.flatten(1).double() - x.flatten(1).double().mean(1, keepdim=True) for x in (a, b))
    scale = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(scale > 1e-9, (a * b).sum(1) / scale.clamp(min=1e-9), 0.0)


def relief(read: Tensor, depth: Tensor) -> float:
    """How strongly `read` (T, H, W) has the local forms of `depth`: 0 not at all, 1 as strongly, 2 twice."""
    found, there = (x - _smooth(x) for x in (read.double(), depth.double()))
    return (found * there).mean().item() / max(there.square().mean().item(), 1e-12)


def seam(frames: Tensor, starts: Sequence[int], floor: float = HALF_A_GREY_LEVEL) -> float:
    """Mean change from a chunk's last frame to the first of the next, over the mean change inside chunks.

    `starts`: index of each chunk's first frame, the first chunk's 0 left out. A change below `floor` counts
    as `floor`: nobody sees it, and in a still scene the quotient of two such changes says nothing.
    """
    change = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))  # change[n]: from frame n to n + 1
    between = torch.zeros(len(change), dtype=torch.bool, device=frames.device)
    for start in starts:
        if not 0 < start < len(frames):
            raise ValueError(f"starts must be 1 ... {len(frames) - 1}, got {start}")
        between[start - 1] = True
    if not between.any() or between.all():
        raise ValueError("starts must leave changes between chunks and inside them")
    across, inside = change[between].mean().item(), change[~between].mean().item()
    return max(across, floor) / max(inside, floor)


def colour_statistics(frames: Tensor) -> Tensor:
    """(6,): mean of red, green, blue over all frames, then the spread inside frames."""
    return torch.cat([frames.mean((0, 2, 3)), frames.flatten(2).std(2).mean(0)])


def palette_distance(a: Tensor, b: Tensor) -> float:
    """How far apart the colours of two sets of frames are, wherever in the picture they stand: 0 the same.

    Mean over nine directions of colour space of how far pixels would have to move (1-Wasserstein).
    """
    directions = a.new_tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]
    )
    directions = directions / directions.norm(dim=1, keepdim=True)
    ranks = torch.linspace(0.005, 0.995, 100, device=a.device, dtype=a.dtype)

    def ranked(frames: Tensor) -> Tensor:
        pixels = frames.movedim(1, -1).reshape(-1, 3)
        pixels = pixels[:: max(1, len(pixels) // 65536)]
        return torch.quantile(pixels @ directions.T, ranks, dim=0)

    return (ranked(a) - ranked(b)).abs().mean().item()


def rises(values: Sequence[float], slack: float = 0.0) -> bool:
    """Whether no value falls more than `slack` below one before it."""
    highest = -math.inf
    for value in values:
        if not value >= highest - slack:  # written so that NaN does not rise
            return False
        highest = max(highest, value)
    return True


def drift(first: float, last: float, floor: float = 0.05) -> float:
    """Change from `first` to `last` in percent of `first`, or of `floor` where that is smaller."""
    return 100 * (last - first) / max(abs(first), floor)


def _laplacian(frames: Tensor) -> Tensor:
    """Of the luma: (T, 3, H, W) -> (T, 1, H - 2, W - 2)."""
    luma = (frames * frames.new_tensor(LUMA_WEIGHTS).view(3, 1, 1)).sum(1, keepdim=True)
    kernel = frames.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return F.conv2d(luma, kernel[None, None])


def _energy(x: Tensor) -> float:
    return x.double().square().mean().item()


def _smooth(x: Tensor) -> Tensor:
    """(T, H, W): the mean of the 21 x 21 pixels around each one, borders continued."""
    padded = F.pad(x[:, None], (10, 10, 10, 10), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (1, 21), 1), (21, 1), 1)[:, 0]
