"""The range of depth that one stream works in."""

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from streaming.vace_utils import stretch_depth


@dataclass(frozen=True, slots=True)
class DepthRange:
    """What a stream calls far and near: one value per stream, which follows the scene within about a second.

    All frames of a chunk share one range, or brightness would pump from frame to frame; and the range moves
    slowly from chunk to chunk, or it would pump there. NaN until the first finite depth.
    """

    far: float = math.nan
    near: float = math.nan
    is_fixed: bool = False

    def normalise(self, depth: Tensor) -> tuple[Tensor, "DepthRange"]:
        """Depth (T, H, W) of one chunk -> the same in [-1, 1], near = +1, and the range for the next chunk.

        The first chunk sets the range. Depth that is the same everywhere becomes -1; NaN becomes 0, and Inf
        the end of the range that it lies at.
        """
        after = self.follow(depth)
        return after.stretch(depth), after

    def stretch(self, depth: Tensor) -> Tensor:
        """Depth of any shape -> [-1, 1] by this range as it is."""
        return stretch_depth(depth.float(), self.far, self.far if self._is_flat else self.near)

    def slope_and_offset(self) -> tuple[float, float]:
        """`stretch` for finite depth, but for the clamp: slope * depth + offset."""
        if self._is_flat:
            return 0.0, -1.0
        span = self.near - self.far
        return 2 / span, -(self.far + self.near) / span

    @property
    def _is_flat(self) -> bool:
        return self.near - self.far <= _FLAT * max(abs(self.far), abs(self.near))

    def follow(self, depth: Tensor) -> "DepthRange":
        """The range after a chunk of depth (T, H, W), of which any even selection of pixels will do."""
        if self.is_fixed:
            return self
        far, near = _percentiles(depth)
        if math.isnan(far):
            return self
        weight = 1.0 if math.isnan(self.far) else 1 - math.exp(-len(depth) / _RANGE_FRAMES)
        far, near = (
            new if weight == 1 else old + weight * (new - old)
            for old, new in ((self.far, far), (self.near, near))
        )
        return replace(self, far=far, near=near)


_RANGE_FRAMES = 16.0  # time constant of the range: a second at the frame rate that the model was trained at
_FLAT = 1e-3  # a range this small against the values is the rounding of a half-precision network, not depth
_SAMPLES = 64  # rows and columns of the grid whose percentiles are taken: sorting every pixel is slow
_ENDS = (0.02, 0.98)


def _percentiles(depth: Tensor) -> tuple[float, float]:
    """2nd and 98th percentile of each frame's finite values, median over the frames; NaN if there are none.

    The median leaves out a frame that the network got wrong, which would otherwise shift all its neighbours.
    """
    rows, columns = (max(1, side // _SAMPLES) for side in depth.shape[1:])
    # numpy sorts ten times as fast as torch takes quantiles.
    samples = depth[:, ::rows, ::columns].flatten(1).float().cpu().numpy()
    if (is_finite := np.isfinite(samples)).all():
        ends = np.quantile(samples, _ENDS, axis=1).T  # of all frames at once, in a quarter of the time
    else:
        ends = [np.quantile(row[ok], _ENDS) for row, ok in zip(samples, is_finite, strict=True) if ok.any()]
    if not len(ends):
        return math.nan, math.nan
    far, near = np.median(ends, axis=0).tolist()
    return far, near
