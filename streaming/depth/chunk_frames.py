"""Frames of one chunk, fitted and estimated: each once, and some of them before the chunk is full."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from streaming.depth.estimators import DepthEstimator
from streaming.frames import check_picture, fit_picture, from_uint8


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrame:
    """What can be known of a camera frame before the rest of its chunk is there. A value, in which nothing of
    a stream is: it stays right whatever becomes of the stream, and is as right for another one."""

    levels: Tensor  # (3, H, W) uint8 of the model's size, on its device
    estimate: Tensor | None  # (H, W) float32 as `DepthEstimator` gives it; None: nothing asks for depth


class ChunkFrames:
    """Fitted frames of a chunk, and their depth as far as it is known: the rest when it is asked for."""

    def __init__(self, pictures: Tensor, known: Sequence[Tensor | None]) -> None:
        """`known`: for each frame the estimate (H, W), where there is one."""
        self.pictures = pictures  # (T, 3, H, W) float32 in [-1, 1]
        self._known = known
        self._estimate: Tensor | None = None  # once asked for

    @classmethod
    def fitted(
        cls, frames: Sequence[np.ndarray | SeenFrame], height: int, width: int, device: torch.device | str
    ) -> Self:
        """Pictures as `fit_frames` takes them, and frames seen by a stream of the same model. Raises
        ValueError naming the frame at fault."""
        for index, frame in enumerate(frames):
            if not isinstance(frame, SeenFrame):
                check_picture(frame, index)
            elif tuple(frame.levels.shape) != (3, height, width):
                raise ValueError(
                    f"frames[{index}]: expected a frame that was seen at {height}x{width} (height x width), "
                    f"got one of {'x'.join(map(str, frame.levels.shape[1:]))}"
                )
        levels = [
            frame.levels if isinstance(frame, SeenFrame) else fit_picture(frame, height, width, device)
            for frame in frames
        ]
        known = [frame.estimate if isinstance(frame, SeenFrame) else None for frame in frames]
        return cls(from_uint8(torch.stack(levels)), known)

    def newest(self, count: int) -> "ChunkFrames":
        """The last `count` of them alone, estimated as if there had never been others: the size of a batch
        shows in the last bits."""
        return ChunkFrames(self.pictures[-count:], self._known[-count:])

    def estimate(self, estimator: DepthEstimator) -> Tensor:
        """Depth (T, H, W) as the estimator gives it, which is asked once, for all that are not known."""
        if self._estimate is None:
            self._estimate = self._estimated(estimator)
        return self._estimate

    def _estimated(self, estimator: DepthEstimator) -> Tensor:
        missing = [index for index, estimate in enumerate(self._known) if estimate is None]
        if len(missing) == len(self._known):
            return estimator.estimate(self.pictures)
        found = list(estimator.estimate(self.pictures[missing])) if missing else []
        return torch.stack([found.pop(0) if estimate is None else estimate for estimate in self._known])


def look_at(
    pictures: Sequence[np.ndarray],
    height: int,
    width: int,
    device: torch.device | str,
    estimator: DepthEstimator | None,
) -> list[SeenFrame]:
    """Pictures as `fit_frames` takes them; their depth with an estimator alone, in one batch. Raises
    ValueError naming the picture at fault, and what the estimator raises."""
    for index, picture in enumerate(pictures):
        check_picture(picture, index)
    # Copies: a picture of the model's size is fitted as it is, and its caller may write to it meanwhile.
    levels = torch.stack([fit_picture(picture, height, width, device) for picture in pictures])
    if estimator is None:
        return [SeenFrame(level.clone(), None) for level in levels]
    estimates = estimator.estimate(from_uint8(levels))
    # Each by itself: one that is kept must not hold the memory of all that were seen with it.
    return [
        SeenFrame(level.clone(), estimate.clone()) for level, estimate in zip(levels, estimates, strict=True)
    ]
