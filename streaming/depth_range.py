"""The range of depth that one stream works in."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streaming.vace_utils import count_non_finite, stretch_depth


@dataclass(frozen=True, slots=True)
class DepthRange:
    """What a stream calls far and near: one value per stream, which follows the scene within about a second.

    All frames of a chunk share one range, or brightness would pump from frame to frame; and the range moves
    slowly from chunk to chunk, or it would pump there. NaN until the first finite depth.
    """

    far: float = math.nan
    near: float = math.nan
    is_fixed: bool = False
    non_finite: int = 0  # NaN and Inf values replaced so far

    def normalise(self, depth: Tensor) -> tuple[Tensor, "DepthRange"]:
        """Depth (T, H, W) of one chunk -> the same in [-1, 1], near = +1, and the range for the next chunk.

        The first chunk sets the range. Depth that is the same everywhere becomes -1; NaN becomes 0, and Inf
        the end of the range that it lies at.
        """
        after = replace(self._follow(depth), non_finite=self.non_finite + count_non_finite(depth))
        is_flat = after.near - after.far <= _FLAT * max(abs(after.far), abs(after.near))
        return stretch_depth(depth.float(), after.far, after.far if is_flat else after.near), after

    def _follow(self, depth: Tensor) -> "DepthRange":
        if self.is_fixed:
            return self
        far, near = _percentiles(depth)
        if math.isnan(far):
            return self
        if math.isnan(self.far):
            return DepthRange(far, near)
        weight = 1 - math.exp(-len(depth) / _RANGE_FRAMES)
        return DepthRange(self.far + weight * (far - self.far), self.near + weight * (near - self.near))


_RANGE_FRAMES = 16.0  # time constant of the range: a second at the frame rate that the model was trained at
_FLAT = 1e-3  # a range this small against the values is the rounding of a half-precision network, not depth
_SAMPLES = 64  # rows and columns of the grid whose percentiles are taken: sorting every pixel is slow


def _percentiles(depth: Tensor) -> tuple[float, float]:
    """2nd and 98th percentile of each frame's finite values, median over the frames; NaN if there are none.

    The median leaves out a frame that the network got wrong, which would otherwise shift all its neighbours.
    """
    rows, columns = (max(1, side // _SAMPLES) for side in depth.shape[1:])
    samples = depth[:, ::rows, ::columns].flatten(1).float()
    samples = torch.where(samples.isfinite(), samples, torch.nan)
    ends = torch.nanquantile(samples, torch.tensor([0.02, 0.98], device=depth.device), dim=1)
    far, near = ends.nanmedian(dim=1).values.tolist()
    return far, near
