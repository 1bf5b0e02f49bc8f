"""The depth that guides one stream: estimated, steadied and kept within [-1, 1], chunk by chunk.

live = LiveDepth(estimator, device, height, width)
depth = live(frames, settings)                # changes nothing yet
...                                           # generate; if that fails, nothing is to be undone
live.keep(depth)                              # from here on the stream has seen this chunk
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streaming.depth import DepthEstimator, DepthRange
from streaming.depth_settings import DepthSettings

__all__ = ["Depth", "DepthSettings", "LiveDepth"]


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """Depth of one chunk."""

    values: Tensor  # (T, H, W) float32 in [-1, 1], near = +1
    motion: float  # mean |change| of depth per frame where the picture moves, 0 ... 2
    non_finite: int  # NaN and Inf values that the estimator gave for this chunk; replaced
    after: "DepthState"


@dataclass(frozen=True, slots=True, eq=False)
class DepthState:
    """What a stream remembers of the depth it was given."""

    range: DepthRange
    non_finite: int = 0  # since the stream began


class LiveDepth:
    """Depth of one stream. Calls compute, `keep` remembers: a chunk that fails leaves no trace."""

    def __init__(
        self, estimator: DepthEstimator, device: torch.device | str, height: int, width: int
    ) -> None:
        self._estimator = estimator
        self._device = torch.device(device)
        self._size = (height, width)
        self._state = DepthState(estimator.new_range())

    @property
    def non_finite(self) -> int:
        """NaN and Inf values that the estimator gave since the stream was opened; a counter, never reset."""
        return self._state.non_finite

    @torch.inference_mode()
    def __call__(
        self,
        frames: Tensor,
        settings: DepthSettings,
        generated: Tensor | None = None,
        *,
        starts_over: bool = False,
    ) -> Depth:
        """Camera frames (T, 3, H, W) float32 in [-1, 1] -> depth to guide the generation with.

        `generated` (T', 3, H, W) in [-1, 1] are the pictures of the last chunk, oldest first; only a
        refinement above 0 looks at them. `starts_over`: as after `reset`, which a caller cannot use before it
        knows that the chunk succeeds. `settings.enabled` is the caller's affair: whoever asks gets depth.
        """
        state = self._fresh() if starts_over else self._state
        values, after = state.range.normalise(self._estimator.estimate(frames))
        count = after.non_finite - state.range.non_finite
        state = replace(state, range=after, non_finite=state.non_finite + count)
        return Depth(values, motion=0.0, non_finite=count, after=state)

    def keep(self, depth: Depth) -> None:
        """Remember the chunk that `depth` belongs to; the next call goes on from there."""
        self._state = depth.after

    def reset(self) -> None:
        """Forget the scene, as a new stream; the counter goes on."""
        self._state = self._fresh()

    def _fresh(self) -> DepthState:
        return DepthState(self._estimator.new_range(), non_finite=self._state.non_finite)
