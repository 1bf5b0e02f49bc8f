"""Figures of a painted face beside the camera's: is it there, and is an open mouth told from a closed one?

    marks = mouths(MOUTHS)                                 # of the real clip, made by hand
    told = mouth_told(frames, marks)                       # 0.5 is chance

Frames are (T, 3, H, W) in [0, 1], one for each mark.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scripts.embedded.judging.figures import pearson
from streaming.controls.lines import blurred
from streaming.frames import LUMA_WEIGHTS

MOUTHS = Path(__file__).resolve().parents[3] / "tests" / "data" / "carphone_mouth.json"
HALF = 66  # frame of the clip where the second half begins; either has open mouths and closed ones
NEAR = 2  # pixels that a painted line may be off
DARKER = 0.015  # than around it is a line of the camera, of the span between a frame's darkest and brightest
TWICE = (
    2  # as many pixels of a painted face are its lines as there are of the camera's: it may draw them bolder
)

_FACE = (34, 62, 34, 24)  # pixels left, above, right and below of a mouth
# Chosen by what is told off the camera itself.
_MOUTH = (18, 14)  # pixels to either side, above and below
_CELL = 2  # pixels: a crop is read as means of such squares
_RIDGE = 0.01  # of the energy of all features
_SHIFTS = (-2, 0, 2)  # pixels ...
_TURNS = (-0.25, 0.0, 0.25)  # ... and radians by which crops are moved to learn from


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


def mouth_told(frames: Tensor, marks: Sequence[Mouth]) -> float:
    """Share of open and of closed mouths, their mean, that a linear probe tells which learned from the other
    half of the clip; mean of both halves. 0.5 is chance. Raises ValueError for a half without either.

    It learns from every mouth moved and turned a little as well: a handful of open ones would teach it where
    heads lean.
    """
    known = [n for n, mark in enumerate(marks) if mark.open is not None]
    frames, told = frames[known], [marks[n] for n in known]
    is_open = torch.tensor([bool(mark.open) for mark in told], device=frames.device)
    is_late = torch.tensor([mark.frame >= HALF for mark in told], device=frames.device)
    seen = _mouths(frames, told, 0, 0, 0.0)
    moved = [_mouths(frames, told, *move) for move in product(_SHIFTS, _SHIFTS, _TURNS)]
    shares: list[float] = []
    for learned in (is_late, ~is_late):
        for half in (learned, ~learned):
            if not is_open[half].any() or is_open[half].all():
                raise ValueError("each half of the clip must have open mouths and closed ones")
        taught = torch.cat([crops[learned] for crops in moved])
        side = _probe(taught, is_open[learned].repeat(len(moved)), seen[~learned])
        truth = is_open[~learned]
        shares += [(side[truth] > 0).double().mean().item(), (side[~truth] < 0).double().mean().item()]
    return statistics.fmean(shares)


def _mouths(frames: Tensor, marks: Sequence[Mouth], right: int, down: int, turn: float) -> Tensor:
    """(N, features) float64, of mean 0 and length 1: colours of the squares around each mouth, seen so many
    pixels beside it and turned by radians."""
    height, width = frames.shape[2:]
    across, along = (torch.arange(-reach, reach, device=frames.device) + 0.5 for reach in _MOUTH)
    v, u = torch.meshgrid(along, across, indexing="ij")
    cos, sin = math.cos(turn), math.sin(turn)
    offset = torch.stack([cos * u - sin * v + right, sin * u + cos * v + down], -1)
    centre = offset.new_tensor([(mark.x, mark.y) for mark in marks])[:, None, None]
    grid = (centre + offset) * 2 / offset.new_tensor([width, height]) - 1
    crops = F.avg_pool2d(F.grid_sample(frames, grid, align_corners=False), _CELL).flatten(1).double()
    crops = crops - crops.mean(1, keepdim=True)
    return crops / crops.norm(dim=1, keepdim=True).clamp(min=1e-6)


def _probe(features: Tensor, is_open: Tensor, others: Tensor) -> Tensor:
    """(N, D), (N,) -> what ridge regression says of (M, D): above 0 open. Both kinds weigh the same."""
    sides = torch.where(is_open, 1.0, -1.0).double()
    middle = (features[is_open].mean(0) + features[~is_open].mean(0)) / 2
    x, weight = features - middle, torch.where(is_open, 0.5 / is_open.sum(), 0.5 / (~is_open).sum()).double()
    root = weight.sqrt()[:, None]
    gram = (x * root) @ (x * root).T
    ridge = (_RIDGE * gram.trace() + 1e-9) * torch.eye(len(x), dtype=x.dtype, device=x.device)
    weights = (x * root).T @ torch.linalg.solve(gram + ridge, sides * root[:, 0])
    return (others - middle) @ weights


def lines_found(frames: Tensor, camera: Tensor, marks: Sequence[Mouth], *, bright: bool = False) -> float:
    """Share of the camera's dark face lines with a painted one within NEAR pixels, above chance: 0 as many as
    anywhere in the face, 1 all. `bright`: the look draws bright lines on dark ground. Raises ValueError where
    no face of the camera has lines.

    A face's painted lines are its TWICE as many darkest pixels: of a fixed darkness, whatever is hatched all
    over would have a line everywhere.
    """
    drawn, seen = _darker(1 - frames if bright else frames), _darker(camera)
    shares: list[float] = []
    for n, mark in enumerate(marks):
        painted, line = _face(drawn[n : n + 1], mark), _face(seen[n : n + 1], mark) > DARKER
        if line.any():
            least = painted.quantile(max(0.0, 1 - TWICE * line.float().mean().item()))
            near = F.max_pool2d((painted > least).float(), 2 * NEAR + 1, 1, NEAR)
            chance, hit = near.mean().item(), near[line].mean().item()
            shares.append((hit - chance) / max(1 - chance, 1e-6))
    if not shares:
        raise ValueError("the camera shows no line in any face")
    return statistics.fmean(shares)


def _darker(pictures: Tensor) -> Tensor:
    """(T, 3, H, W) -> (T, H, W): how much darker a pixel is than around it, by XDoG's two blurs, as a share
    of the frame's span. XDoG itself draws black whatever is dark: all of a face before a window."""
    luma = _luma(pictures)
    low, high = torch.quantile(luma.flatten(1), luma.new_tensor([0.02, 0.98]), dim=1)[..., None, None]
    return (blurred(luma, 1.44) - blurred(luma, 0.9)) / (high - low).clamp(min=1e-6)


def band_followed(frames: Tensor, camera: Tensor, marks: Sequence[Mouth]) -> float:
    """Correlation of what is between 1 and 6 pixels wide in the luma of a painted face and of the camera's,
    its sign left out; mean of the frames."""
    painted, seen = _band(frames), _band(camera)
    pairs = [
        pearson(_face(painted[n : n + 1], mark), _face(seen[n : n + 1], mark)).abs()
        for n, mark in enumerate(marks)
    ]
    return torch.cat(pairs).mean().item()


def _band(frames: Tensor) -> Tensor:
    luma = _luma(frames)
    return blurred(luma, 0.8) - blurred(luma, 6.0)


def _luma(frames: Tensor) -> Tensor:
    return (frames * frames.new_tensor(LUMA_WEIGHTS).view(3, 1, 1)).sum(1)


def _face(pictures: Tensor, mark: Mouth) -> Tensor:
    """What is around a mouth; less at the picture's border."""
    left, above, right, below = _FACE
    rows = slice(max(mark.y - above, 0), mark.y + below)
    return pictures[..., rows, max(mark.x - left, 0) : mark.x + right]
