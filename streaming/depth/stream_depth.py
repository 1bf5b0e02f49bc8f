"""The depth that guides one stream: estimated, steadied and kept within [-1, 1], chunk by chunk.

    stream_depth = StreamDepth(estimator, device, height, width)
    depth = stream_depth(frames, settings)        # changes nothing yet
    ...                                           # generate; if that fails, nothing is to be undone
    stream_depth.keep(depth)                      # from here on the stream has seen this chunk

What is done to an estimate, in this order: scale and shift of every frame are brought to those of the frames
before (alignment.py), the past is blended in where asked for (smoothing.py), one range for the whole chunk
makes it [-1, 1] (range.py), the last generated picture adds its detail where asked for (refinement.py). A cut
of the camera's scene begins anew from its first frame on. Bars around a camera picture that is shown whole
are as far as anything can be, and say nothing of the range.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.api import DepthSettings, Point
from streaming.depth.alignment import Alignment, Array, Reference, align
from streaming.depth.estimators import DepthEstimator
from streaming.depth.points import depth_of_points
from streaming.depth.range import DepthRange
from streaming.depth.refinement import refine
from streaming.depth.smoothing import half_res_luma, smooth
from streaming.frames import LUMA_WEIGHTS
from streaming.vace_utils import count_non_finite

_CELLS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The last frame of the chunk before, on the device."""

    picture: Tensor  # (1, H // 2, W // 2) grey
    depth: Tensor  # (H, W) aligned and smoothed, in the estimator's unit
    values: Tensor  # (H, W) the same in [-1, 1], before refinement


@dataclass(frozen=True, slots=True, eq=False)
class StreamDepthState:
    """What a stream remembers of the depth it was given. A value: nothing in it is ever written to."""

    range: DepthRange
    non_finite: int = 0  # since the stream was opened
    reference: Reference | None = None
    memory: Memory | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """Depth of one chunk."""

    values: Tensor  # (T, H, W) float32 in [-1, 1], near = +1
    motion: float  # mean |change| of depth per frame where the picture changes, 0 ... 2; 0 for points
    non_finite: int  # NaN and Inf values that the estimator gave for this chunk; replaced
    after: StreamDepthState


class StreamDepth:
    """Depth of one stream. Calls compute, `keep` remembers: a chunk that fails leaves no trace."""

    def __init__(
        self, estimator: DepthEstimator, device: torch.device | str, height: int, width: int
    ) -> None:
        self._estimator = estimator
        self._device = torch.device(device)
        self._size = (height, width)
        self._cell = max(1, min(width // _CELLS, height // 2))
        # Means of cells, colours to grey in the same pass.
        weights = torch.tensor(LUMA_WEIGHTS, device=self._device).view(1, 3, 1, 1)
        self._to_cells = weights.repeat(1, 1, self._cell, self._cell) / self._cell**2
        self._state = StreamDepthState(estimator.new_range())
        self._points: tuple[tuple[Point, ...], Tensor] | None = None  # the last ones asked for, and their map

    def of_size(self, height: int, width: int) -> "StreamDepth":
        """Of the same stream in another size: it has seen nothing of the scene yet; the counter goes on."""
        other = StreamDepth(self._estimator, self._device, height, width)
        other.resume(self._fresh())
        return other

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
        estimate: Callable[[DepthEstimator], Tensor] | None = None,
        bars: Tensor | None = None,
        starts_over: bool = False,
    ) -> Depth:
        """Camera frames (T, 3, H, W) float32 in [-1, 1] -> depth to guide the generation with.

        `generated` (T', 3, H, W) in [-1, 1] are the pictures shown last, oldest first; only a refinement
        above 0 looks at them, at the newest, and it costs the estimate of one frame more. `estimate` gives
        the estimator's (T, H, W) of these frames, which a caller may know in part; it is not asked where
        points replace it. `bars` (T, H, W) bool: where frames show nothing of the camera. `starts_over`: as
        after `reset`, which a caller cannot use before it knows that the chunk succeeds. `settings.enabled`
        is the caller's affair: whoever asks gets depth. Raises ValueError on another shape.
        """
        for name, pictures in (("frames", frames), ("generated", generated)):
            if pictures is not None and (pictures.ndim != 4 or tuple(pictures.shape[1:]) != (3, *self._size)):
                expected = f"(T, 3, {self._size[0]}, {self._size[1]})"
                raise ValueError(f"{name}: expected {expected}, got {tuple(pictures.shape)}")
        state = self._fresh() if starts_over else self._state
        if settings.points:
            values = _far_in(bars, self._sparse(settings.points).expand(len(frames), -1, -1))
            # As after a pause of depth: what is remembered of the camera will be old when points are cleared.
            return Depth(values, motion=0.0, non_finite=0, after=replace(state, reference=None, memory=None))
        raw = self._estimator.estimate(frames) if estimate is None else estimate(self._estimator)
        raw, bad = _replace_non_finite(raw)
        state = replace(state, non_finite=state.non_finite + bad)
        if bad == raw.numel():  # nothing to learn from
            return Depth(torch.zeros_like(raw), motion=0.0, non_finite=bad, after=state)

        alignment, grid = self._align(frames, raw, state)
        scale, shift = alignment.scale, alignment.shift
        if settings.smoothing:
            raw = self._smooth(raw, frames, alignment, state.memory, settings.smoothing)
            scale, shift = np.ones_like(scale), np.zeros_like(shift)
        if bars is not None:
            covered = F.avg_pool2d(bars[:, None].float(), self._cell)[:, 0].cpu().numpy() == 1
            grid = np.where(covered, np.float32(np.nan), grid)
        slope, offset, after = self._ranges(grid, alignment, state.range)
        # Alignment and range in one pass over the pixels.
        values = self._scaled(raw, slope * scale, slope * shift + offset).clamp_(-1, 1)
        memory = Memory(
            picture=half_res_luma(frames[-1:])[0],
            depth=self._scaled(raw[-1:], scale[-1:], shift[-1:])[0],
            values=values[-1].clone(),
        )
        if settings.refinement and generated is not None and state.memory is not None:
            painted, _ = _replace_non_finite(self._estimator.estimate(generated[-1:]))
            values = refine(values, state.memory.values, painted[0], alignment.still, settings.refinement)
        values = _far_in(bars, values)
        span = after.near - after.far
        motion = min(2.0, 2 * alignment.moved / span) if span > 0 else 0.0
        return Depth(
            values, motion, bad, replace(state, range=after, reference=alignment.after, memory=memory)
        )

    @property
    def state(self) -> StreamDepthState:
        """What is remembered of the chunks so far."""
        return self._state

    def resume(self, state: StreamDepthState) -> None:
        """Go on from the state of another stream of the same estimator."""
        self._state = state

    def keep(self, depth: Depth) -> None:
        """Remember the chunk that `depth` belongs to; the next call goes on from there."""
        self._state = depth.after

    def reset(self) -> None:
        """Forget the scene, as a new stream; the counter goes on."""
        self._state = self._fresh()

    def _fresh(self) -> StreamDepthState:
        return StreamDepthState(self._estimator.new_range(), non_finite=self._state.non_finite)

    def _sparse(self, points: tuple[Point, ...]) -> Tensor:
        if self._points is None or self._points[0] != points:
            self._points = points, depth_of_points(points, *self._size, self._device)
        return self._points[1]

    def _align(self, frames: Tensor, estimate: Tensor, state: StreamDepthState) -> tuple[Alignment, Array]:
        """How each frame follows the one before, and its aligned depth, (T, h, w) on the host."""
        pictures = F.conv2d(frames, self._to_cells, stride=self._cell)[:, 0]
        coarse = torch.stack([pictures, F.avg_pool2d(estimate[:, None], self._cell)[:, 0]]).cpu().numpy()
        alignment = align(coarse[0], coarse[1], state.reference, is_fixed=state.range.is_fixed)
        return alignment, coarse[1] * alignment.scale[:, None, None] + alignment.shift[:, None, None]

    def _scaled(self, depth: Tensor, scale: Array, shift: Array) -> Tensor:
        """Each frame of depth (T, H, W) with its own scale and shift, (T,) on the host; a new tensor."""
        # In one copy, which nobody waits for: from memory that is not pinned it has begun when this goes on.
        both = torch.from_numpy(np.stack([scale, shift])).to(depth, non_blocking=True)
        scales, shifts = both.view(2, -1, 1, 1)
        return torch.addcmul(shifts, depth, scales)

    def _smooth(
        self, estimate: Tensor, frames: Tensor, alignment: Alignment, memory: Memory | None, smoothing: float
    ) -> Tensor:
        """Aligned and smoothed depth."""
        depth, pictures = self._scaled(estimate, alignment.scale, alignment.shift), half_res_luma(frames)
        before = (memory.depth, memory.picture) if memory else (depth[0], pictures[0])
        strength = torch.full((len(depth),), smoothing, device=self._device)
        strength[list(alignment.cuts)] = 0
        gain, offset = (torch.from_numpy(x).to(self._device) for x in (alignment.gain, alignment.offset))
        return smooth(depth, pictures, gain, offset, *before, strength)

    def _ranges(
        self, grid: Array, alignment: Alignment, before: DepthRange
    ) -> tuple[Array, Array, DepthRange]:
        """Slope and offset, (T,) each, that bring aligned depth into [-1, 1]: by one range for all frames; by
        one for each scene where the scene changes in a chunk."""
        slope, offset = np.empty(len(grid), np.float32), np.empty(len(grid), np.float32)
        for first, end in pairwise((0, *alignment.cuts, len(grid))):
            if first in alignment.cuts:
                before = self._estimator.new_range()
            if end > first:  # a chunk may begin with a cut
                before = before.follow(torch.from_numpy(grid[first:end]))
                slope[first:end], offset[first:end] = before.slope_and_offset()
        return slope, offset, before


def _far_in(bars: Tensor | None, values: Tensor) -> Tensor:
    """Depth (T, H, W) in [-1, 1] that is far in the bars."""
    return values if bars is None else values.masked_fill(bars, -1)


def _replace_non_finite(depth: Tensor) -> tuple[Tensor, int]:
    """Depth without NaN (the middle of the chunk's range) and Inf (its ends), and how many there were."""
    if depth.sum().isfinite():  # one pass over the values instead of three
        return depth, 0
    finite = depth[depth.isfinite()]
    if not finite.numel():
        return torch.zeros_like(depth), depth.numel()
    low, high = finite.min().item(), finite.max().item()
    return torch.nan_to_num(depth, nan=(low + high) / 2, posinf=high, neginf=low), count_non_finite(depth)
