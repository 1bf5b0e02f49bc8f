"""Steadiness of depth and how well it keeps edges: figures of a clip and of what was made of it.

    figures = measure(frames, values, reference, borders)

None of them needs true depth: what is still, what moves and where edges are is read off the picture itself.
`values` are depth in [-1, 1]; shares and percentages are of that range.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.frames import LUMA_WEIGHTS

WINDOW = 8  # frames over which a pixel must be still: half a second at 16 fps
_STILL = 6 / 127.5  # from the brightest to the darkest grey of a window: six levels
_CLEAR = 5  # side of the square around a still pixel that must be still, too
_LEAST_STILL = 0.02  # share of still pixels below which a window says nothing
_DEPTH_EDGES, _PICTURE_EDGES = 0.05, 0.15  # shares of the pixels with the steepest slopes
_NEAR = 5  # side of the square around a pixel in which an edge counts as being there


@dataclass(frozen=True, slots=True)
class DepthFigures:
    """Of one way to make depth from one clip. None: the clip has nothing to measure it on."""

    flicker: float | None  # %: deviation over half a second where the picture is still, root mean square
    border: float | None  # %: mean step of still pixels from the last frame of a chunk to the next chunk
    inside: float | None  # %: the same from frame to frame inside chunks
    contrast: float  # %: mean deviation over a frame; flicker falls with it, and so does guidance
    edges: (
        float | None
    )  # how many times as often as by chance a steep slope of depth lies on an edge of the picture
    kept: float | None  # correlation of slopes with the reference's where the picture moves: 1 no smear
    still: float  # share of the pixels that count as still


def measure(frames: Tensor, values: Tensor, reference: Tensor, borders: Sequence[int]) -> DepthFigures:
    """Frames (T, 3, H, W) in [-1, 1], `values` and `reference` depth (T, H, W); `borders` are the frames with
    which chunks begin, the first left out."""
    pictures = grey(frames)
    still = still_pixels(pictures)
    return DepthFigures(
        flicker=flicker(values, still),
        border=_steps(values, pictures, set(borders)),
        inside=_steps(values, pictures, set(range(1, len(values))) - set(borders)),
        contrast=50 * values.flatten(1).std(dim=1).mean().item(),
        edges=edges_on_edges(values, pictures),
        kept=edges_kept(values, reference, pictures),
        still=still.float().mean().item(),
    )


def grey(frames: Tensor) -> Tensor:
    """(T, 3, H, W) -> (T, H, W), without the finest noise."""
    luma = frames.new_tensor(LUMA_WEIGHTS).view(3, 1, 1)
    return F.avg_pool2d((frames * luma).sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)[:, 0]


def still_pixels(pictures: Tensor) -> Tensor:
    """Greys (T, H, W) -> (T - WINDOW + 1, H, W) bool: still, with all around it, over the window that begins
    there."""
    windows = pictures.unfold(0, WINDOW, 1)
    moves = (windows.amax(-1) - windows.amin(-1) >= _STILL).float()
    return F.max_pool2d(moves[:, None], _CLEAR, 1, _CLEAR // 2)[:, 0] == 0


def flicker(values: Tensor, still: Tensor) -> float | None:
    """Deviation over time of still pixels in percent of the range: root of the mean variance."""
    total, count = 0.0, 0
    for start, where in enumerate(still):
        if where.float().mean() >= _LEAST_STILL:
            variance = (values[start : start + WINDOW] / 2).var(0, correction=0)[where]
            total, count = total + variance.sum().item(), count + variance.numel()
    return 100 * (total / count) ** 0.5 if count else None


def edges_on_edges(values: Tensor, pictures: Tensor) -> float | None:
    """Share of the steepest slopes of depth that have an edge of the picture within two pixels, over the
    share that any pixel has: 1 is chance. None where there are no slopes at all."""
    near = F.max_pool2d(_steepest(slopes(pictures), _PICTURE_EDGES).float()[:, None], _NEAR, 1, _NEAR // 2)
    hits = near[:, 0][_steepest(slopes(values), _DEPTH_EDGES)]
    return (hits.mean() / near.mean()).item() if hits.numel() and near.any() else None


def edges_kept(values: Tensor, reference: Tensor, pictures: Tensor) -> float | None:
    """Correlation of the slopes of two depths over the pixels whose picture has just changed.

    What is smeared behind a moving thing has its slope in the wrong place. Mean over the frames in which
    enough moves; scale and shift of a frame do not count.
    """
    found: list[Tensor] = []
    ours, theirs = slopes(values), slopes(reference)
    for t in range(1, len(values)):
        changed = (pictures[t] - pictures[t - 1]).abs()[None, None] >= _STILL
        where = F.max_pool2d(changed.float(), 2 * _CLEAR + 1, 1, _CLEAR)[0, 0] > 0
        if where.float().mean() >= _LEAST_STILL:
            found.append(torch.corrcoef(torch.stack([ours[t][where], theirs[t][where]]))[0, 1].nan_to_num())
    return torch.stack(found).mean().item() if found else None


def slopes(maps: Tensor) -> Tensor:
    """(T, H, W) -> the same: how steep, by central differences; 0 at the border."""
    slope = torch.zeros_like(maps)
    across = maps[:, 1:-1, 2:] - maps[:, 1:-1, :-2]
    down = maps[:, 2:, 1:-1] - maps[:, :-2, 1:-1]
    slope[:, 1:-1, 1:-1] = torch.hypot(across, down)
    return slope


def _steepest(slope: Tensor, share: float) -> Tensor:
    """(T, H, W) bool: the steepest pixels of each frame."""
    rank = max(1, round(share * slope[0].numel()))
    return (slope > 0) & (slope >= slope.flatten(1).topk(rank, dim=1).values[:, -1:, None])


def _steps(values: Tensor, pictures: Tensor, at: set[int]) -> float | None:
    """Mean |change| in percent from the frame before to the frames `at`, where the picture is still."""
    steps: list[Tensor] = []
    for t in at:
        moves = ((pictures[t] - pictures[t - 1]).abs() >= _STILL / 2).float()
        where = F.max_pool2d(moves[None, None], _CLEAR, 1, _CLEAR // 2)[0, 0] == 0
        if where.float().mean() >= _LEAST_STILL:
            steps.append((values[t] - values[t - 1])[where].abs())
    return 50 * torch.cat(steps).mean().item() if steps else None
