"""Losses of a decoded video. Videos (B, T, 3, H, W) in [-1, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, STRIDE = 5, 2  # pixels: where in the picture contrast is compared
LEAST = 1e-4  # contrast squared that nobody sees (1.3 grey levels); keeps the root's slope finite


def reconstruction_loss(out: Tensor, video: Tensor, *, motion: float = 0.2) -> Tensor:
    """Colour, edges at two scales, and change from frame to frame, weighted `motion`."""
    loss = (out - video).abs().mean() + 2 * F.mse_loss(out, video)
    a, b = out.flatten(0, 1), video.flatten(0, 1)
    for _ in range(2):
        loss = loss + 0.5 * ((a.diff(dim=-1) - b.diff(dim=-1)).abs().mean())
        loss = loss + 0.5 * ((a.diff(dim=-2) - b.diff(dim=-2)).abs().mean())
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return loss + motion * (out.diff(dim=1) - video.diff(dim=1)).abs().mean()


def contrast_loss(out: Tensor, video: Tensor) -> Tensor:
    """How much the strength of fine detail differs, place by place and at two scales.

    Of detail whose exact place is not known, errors of pixels are least when it is painted faint: that is
    what a blurred picture is. This term sees how strong detail is around a place and not where its lines
    stand, so that faint is wrong; `reconstruction_loss` goes on to say where they stand.
    """
    loss = out.new_zeros(())
    a, b = out.clamp(-1, 1).flatten(0, 1), video.flatten(0, 1)  # nobody sees contrast beyond black and white
    for _ in range(2):
        luma, *colours = (_contrast(a) - _contrast(b)).abs().mean((0, 2, 3)).unbind()
        loss = loss + luma + sum(colours, start=0 * luma) / 2
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return loss


def _contrast(x: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 3, h, w): root mean square of what [1 2 1] / 4 both ways takes away, of luma and of
    two differences from it: bright teeth must not make up for a faint fringe of colour."""
    across = (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
    smooth = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 4
    fine = x[..., 1:-1, 1:-1] - smooth
    red, green, blue = fine.split(1, dim=1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    opponents = torch.cat([luma, red - luma, blue - luma], 1)
    return (F.avg_pool2d(opponents.square(), WINDOW, STRIDE) + LEAST).sqrt()
