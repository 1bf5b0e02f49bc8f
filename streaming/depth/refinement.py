"""Depth refined by the generated picture's own depth, where the camera's picture is still.

Why one would want it. The camera knows where a face is, and nothing of the horns that the model gave it. Left
out of the guidance, such inventions are made up again in every chunk, and change while the person sits still.
Their depth, estimated from the last generated picture, says to the next chunk: this is here now.

Why it is safe. The camera keeps half a say at least; a painted form goes as soon as the camera's picture
moves there, since nobody knows where to; every chunk measures the difference from the camera's depth anew and
adds nothing up, so that the model cannot talk itself away from the camera; and a painted picture whose depth
has little to do with the camera's (another scene altogether) has as little say.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.depth.alignment import Array, fit

_MOST = 0.5  # of the difference, at refinement 1
_LIMIT = 0.5  # a quarter of the range: more is another scene, not a detail
_GRID = 4  # pixels per cell of the fit


def refine(values: Tensor, camera: Tensor, painted: Tensor, still: Array, strength: float) -> Tensor:
    """Depth (T, H, W) in [-1, 1] with a share of what the last picture has beyond the camera's depth.

    `camera` (H, W) is the depth in [-1, 1] of the frame that the last generated picture was painted for,
    `painted` (H, W) the estimate of that picture in any unit, finite. `still` (T, h, w) 0 ... 1: like the
    picture before, frame by frame; `strength` 0 ... 1.
    """
    x, y = (F.avg_pool2d(depth[None, None], _GRID)[0, 0].cpu().numpy() for depth in (painted, camera))
    agreement = _correlation(x, y)
    if agreement <= 0:
        return values
    expected = float(y.std() / x.std())
    scale, shift = fit(x, y, np.ones_like(x), prior=0.0, prior_scale=expected)
    detail = (scale * painted + shift - camera).clamp(-_LIMIT, _LIMIT)
    unmoved = torch.from_numpy(np.minimum.accumulate(still, axis=0)).to(values.device)
    unmoved = F.interpolate(unmoved[:, None], values.shape[1:], mode="bilinear")[:, 0]
    return (values + _MOST * strength * agreement * unmoved * detail).clamp(-1, 1)


def _correlation(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-12))
