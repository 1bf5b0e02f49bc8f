"""Figures of a painted face beside the camera's: is it there, and is an open mouth told from a closed one?

    marks = mouths(MOUTHS)                                 # of the real clip, made by hand
    crops = mouth_crops(frames, marks)                     # (N, features)
    told = mouth_told(crops, marks)                        # 0.5 is chance

Frames are (T, 3, H, W) in [0, 1], one for each mark.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scripts.embedded.judging.figures import pearson
from streaming.controls.lines import blurred, xdog
from streaming.frames import LUMA_WEIGHTS

MOUTHS = Path(__file__).resolve().parents[3] / "tests" / "data" / "carphone_mouth.json"
HALF = 66  # frame of the clip where the second half begins; either has open mouths and closed ones
NEAR = 2  # pixels that a painted line may be off

# Pixels left, above, right and below of a mouth.
_MOUTH = (16, 12, 16, 12)
_FACE = (34, 62, 34, 24)
_CELL = 4  # pixels: a crop is read as means of such squares
_RIDGE = 0.1  # of the mean feature's energy


class Mouth(BaseModel):
    """One frame's mouth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Annotated[int, Field(ge=0)]  # of the clip, counted from 0
    x: Annotated[int, Field(ge=0)]  # pixels of 256 x 144
    y: Annotated[int, Field(ge=0)]
    open: bool | None  # None: parted a little, left out


class Mouths(BaseModel):
    """tests/data/carphone_mouth.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    mouths: tuple[Mouth, ...]


def mouths(file: Path = MOUTHS) -> tuple[Mouth, ...]:
    """The marks in `file`. Raises pydantic.ValidationError, which names the field."""
    return Mouths.model_validate_json(file.read_bytes()).mouths


def mouth_crops(frames: Tensor, marks: Sequence[Mouth]) -> Tensor:
    """(T, features) float64: colours of the squares of each frame's mouth."""
    crops = torch.cat([_crop(frame[None], mark, _MOUTH) for frame, mark in zip(frames, marks, strict=True)])
    return F.avg_pool2d(crops, _CELL).flatten(1).double()


def mouth_told(crops: Tensor, marks: Sequence[Mouth]) -> float:
    """Share of open and of closed mouths, their mean, that a linear probe tells which learned from the other
    half of the clip; mean of both halves. 0.5 is chance. Raises ValueError for a half without either."""
    known = [n for n, mark in enumerate(marks) if mark.open is not None]
    is_open = torch.tensor([bool(marks[n].open) for n in known])
    is_late = torch.tensor([marks[n].frame >= HALF for n in known])
    features, shares = crops[known], []
    for learned in (is_late, ~is_late):
        for half in (learned, ~learned):
            if not is_open[half].any() or is_open[half].all():
                raise ValueError("each half of the clip must have open mouths and closed ones")
        seen = _probe(features[learned], is_open[learned], features[~learned])
        truth = is_open[~learned]
        shares += [(seen[truth] > 0).double().mean().item(), (seen[~truth] < 0).double().mean().item()]
    return statistics.fmean(shares)


def _probe(features: Tensor, is_open: Tensor, others: Tensor) -> Tensor:
    """(N, D), (N,) -> what ridge regression says of (M, D): above 0 open. Both kinds weigh the same."""
    sides = torch.where(is_open, 1.0, -1.0).double()
    middle = (features[is_open].mean(0) + features[~is_open].mean(0)) / 2
    x, weight = features - middle, torch.where(is_open, 0.5 / is_open.sum(), 0.5 / (~is_open).sum()).double()
    root = weight.sqrt()[:, None]
    gram = (x * root) @ (x * root).T
    ridge = _RIDGE * gram.trace() * torch.eye(len(x), dtype=x.dtype, device=x.device)
    weights = (x * root).T @ torch.linalg.solve(gram + ridge, sides * root[:, 0])
    return (others - middle) @ weights


def lines_found(frames: Tensor, camera: Tensor, marks: Sequence[Mouth], *, bright: bool = False) -> float:
    """Share of the camera's dark face lines with a painted one within NEAR pixels, above chance: 0 as many as
    anywhere in the face, 1 all. `bright`: the look draws bright lines on dark ground."""
    drawn = xdog((1 - frames if bright else frames) * 2 - 1) < 0
    reached = F.max_pool2d(drawn[:, None].float(), 2 * NEAR + 1, 1, NEAR)
    there = xdog(camera * 2 - 1)[:, None] < 0
    shares: list[float] = []
    for n, mark in enumerate(marks):
        near, line = (_crop(x[n : n + 1], mark, _FACE) for x in (reached, there.float()))
        if line.sum():
            chance = near.mean().item()
            hit = ((near * line).sum() / line.sum()).item()
            shares.append((hit - chance) / max(1 - chance, 1e-6))
    return statistics.fmean(shares)


def band_followed(frames: Tensor, camera: Tensor, marks: Sequence[Mouth]) -> float:
    """Correlation of what is between 1 and 6 pixels wide in the luma of a painted face and of the camera's,
    its sign left out; mean of the frames."""
    painted, seen = _band(frames), _band(camera)
    pairs = [
        pearson(_crop(painted[n : n + 1], mark, _FACE), _crop(seen[n : n + 1], mark, _FACE)).abs()
        for n, mark in enumerate(marks)
    ]
    return torch.cat(pairs).mean().item()


def _band(frames: Tensor) -> Tensor:
    luma = (frames * frames.new_tensor(LUMA_WEIGHTS).view(3, 1, 1)).sum(1)
    return blurred(luma, 0.8) - blurred(luma, 6.0)


def _crop(pictures: Tensor, mark: Mouth, box: tuple[int, int, int, int]) -> Tensor:
    """What is around a mouth; less at the picture's border."""
    left, above, right, below = box
    rows = slice(max(mark.y - above, 0), mark.y + below)
    return pictures[..., rows, max(mark.x - left, 0) : mark.x + right]
