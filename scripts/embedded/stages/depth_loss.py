"""Distance of predicted inverse depth from the true one, up to scale and shift."""

import torch.nn.functional as F
from torch import Tensor

DEPTH_OF_FAR = 0.2  # what the net should give for the farthest point of a frame: clear of its last ReLU


def depth_loss(predicted: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted and true inverse depth, both (B, H, W) -> loss up to scale and shift, and pull to a range.

    The first is close to MiDaS's: what is left of 1 when Pearson's r is taken away, which is the squared
    error of both maps less their mean over their deviation, and the L1 of that error's gradients at four
    scales. No pixel is trimmed, as this truth has no outliers (the worst pixels are hands), and squares beat
    L1 by far in a short training. The pull keeps scale and shift steady from frame to frame, and the output
    above zero.
    """
    target = disparity_target(disparity)
    error = _standardised(predicted) - _standardised(target)
    loss = 0.5 * error.square().mean()
    for scale in range(4):
        coarse = F.avg_pool2d(error[:, None], 2**scale)[:, 0] if scale else error
        across = (coarse[:, :, 1:] - coarse[:, :, :-1]).abs().mean()
        down = (coarse[:, 1:] - coarse[:, :-1]).abs().mean()
        loss = loss + 0.1 * (across + down)
    return loss, F.smooth_l1_loss(predicted, target, beta=0.2)


def disparity_target(disparity: Tensor) -> Tensor:
    """(B, H, W): each frame's 2nd percentile becomes DEPTH_OF_FAR, its 98th 1 more; nearer goes on to 2."""
    # Sorted by hand: `quantile` brings its ranks from the host, which a CUDA graph cannot.
    ranked = disparity.flatten(1).sort(1).values
    low, high = (ranked[:, round(q * (ranked.shape[1] - 1)), None, None] for q in (0.02, 0.98))
    return ((disparity - low) / (high - low).clamp(min=1e-2)).clamp(0, 2) + DEPTH_OF_FAR


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean((1, 2), keepdim=True)
    return centred / centred.square().mean((1, 2), keepdim=True).add(1e-3).sqrt()


def correlation(predicted: Tensor, disparity: Tensor) -> Tensor:
    """Pearson's r of each frame: (B, H, W) twice -> (B,)."""
    a, b = (x.flatten(1).float() - x.flatten(1).float().mean(1, keepdim=True) for x in (predicted, disparity))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-6)
