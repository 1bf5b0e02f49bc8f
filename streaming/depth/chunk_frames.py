"""Frames of one chunk, fitted and estimated: each once, and some of them before the chunk is full."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from streaming.api import DEFAULT_FIT, CameraFit
from streaming.depth.estimators import DepthEstimator
from streaming.frames import check_picture, fit_picture, from_uint8, inside_bars


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrame:
    """What can be known of a camera frame before the rest of its chunk is there. A value, in which nothing of
    a stream is: it stays right whatever becomes of the stream, and is as right for another one."""

    levels: Tensor  # (3, H, W) uint8 of the stream's size, on its device
    picture: np.ndarray  # (h, w, 3) uint8 as it came, for a stream that is turned meanwhile
    fit: CameraFit  # of `picture` in `levels`
    estimate: Tensor | None  # (H, W) float32 as `DepthEstimator` gives it; None: nothing asks for depth


class ChunkFrames:
    """Fitted frames of a chunk, and their depth as far as it is known: the rest when it is asked for."""

    def __init__(self, pictures: Tensor, known: Sequence[Tensor | None], bars: Tensor | None = None) -> None:
        """`known`: for each frame the estimate (H, W), where there is one."""
        self.pictures = pictures  # (T, 3, H, W) float32 in [-1, 1]
        self.bars = bars  # (T, H, W) bool: where a frame shows nothing of the camera; None: nowhere
        self._known = known
        self._estimate: Tensor | None = None  # once asked for

    @classmethod
    def fitted(
        cls,
        frames: Sequence[np.ndarray | SeenFrame],
        height: int,
        width: int,
        device: torch.device | str,
        fit: CameraFit = DEFAULT_FIT,
    ) -> Self:
        """Pictures as `fit_frames` takes them, and frames seen by a stream of the same model: those seen in
        another shape, or fitted otherwise, are as if they had not been. Raises ValueError naming the frame at
        fault."""
        pictures: list[np.ndarray] = []
        levels: list[Tensor] = []
        known: list[Tensor | None] = []
        for index, frame in enumerate(frames):
            if isinstance(frame, SeenFrame):
                pictures.append(frame.picture)
                if frame.fit == fit and tuple(frame.levels.shape) == (3, height, width):
                    levels.append(frame.levels)
                    known.append(frame.estimate)
                    continue
            else:
                check_picture(frame, index)
                pictures.append(frame)
            levels.append(fit_picture(pictures[-1], height, width, device, fit))
            known.append(None)
        bars = _bars(pictures, height, width, device) if fit == "fit" else None
        return cls(from_uint8(torch.stack(levels)), known, bars)

    def newest(self, count: int) -> "ChunkFrames":
        """The last `count` of them alone, estimated as if there had never been others: the size of a batch
        shows in the last bits."""
        bars = None if self.bars is None else self.bars[-count:]
        return ChunkFrames(self.pictures[-count:], self._known[-count:], bars)

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
    fit: CameraFit = DEFAULT_FIT,
) -> list[SeenFrame]:
    """Pictures as `fit_frames` takes them; their depth with an estimator alone, in one batch. Raises
    ValueError naming the picture at fault, and what the estimator raises."""
    for index, picture in enumerate(pictures):
        check_picture(picture, index)
    # Copies: a picture of the model's size is fitted as it is, and its caller may write to it meanwhile.
    copies = [picture.copy() for picture in pictures]
    levels = torch.stack([fit_picture(picture, height, width, device, fit) for picture in copies])
    estimates = [None] * len(copies) if estimator is None else estimator.estimate(from_uint8(levels))
    # Each by itself: one that is kept must not hold the memory of all that were seen with it.
    return [
        SeenFrame(level.clone(), picture, fit, None if estimate is None else estimate.clone())
        for level, picture, estimate in zip(levels, copies, estimates, strict=True)
    ]


def _bars(
    pictures: Sequence[np.ndarray], height: int, width: int, device: torch.device | str
) -> Tensor | None:
    """(T, height, width) bool, or None where there are none."""
    bars = torch.ones(len(pictures), height, width, dtype=torch.bool)
    for bar, picture in zip(bars, pictures, strict=True):
        bar[inside_bars(picture.shape[:2], height, width)] = False
    return bars.to(device) if bars.any() else None
