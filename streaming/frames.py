"""Frames of the model: made from camera pictures of any size, and between uint8 and [-1, 1]."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.api import DEFAULT_FIT, CameraFit

LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # it is kept for whoever asks, in whatever mode
def channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A float32 number for each colour, (3, 1, 1). Kept: to make it anew is to wait for a GPU."""
    return torch.tensor(values, device=device).view(3, 1, 1)


def from_uint8(levels: Tensor) -> Tensor:
    """uint8 of any shape -> a new float32 tensor in [-1, 1]."""
    return levels.to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_uint8(values: Tensor) -> Tensor:
    """[-1, 1] of any shape -> uint8, rounded; what lies outside takes the nearest end."""
    return values.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def fit_frames(
    frames: Sequence[np.ndarray],
    height: int,
    width: int,
    device: torch.device | str,
    fit: CameraFit = DEFAULT_FIT,
) -> Tensor:
    """RGB pictures, each (H, W, 3) uint8 of its own size -> (T, 3, height, width) float32 in [-1, 1] on
    `device`.

    `fill`: the middle of the picture at the target's aspect ratio, resized with antialiasing. `fit`: all of
    it, between black bars. Values keep to the 256 levels of the input. Raises ValueError naming the frame at
    fault; the pictures are not changed.
    """
    if height < 1 or width < 1:
        raise ValueError(f"target size: expected at least 1x1, got {height}x{width} (height x width)")
    if not frames:
        raise ValueError("frames: expected at least one (H, W, 3) uint8 picture, got none")
    for index, frame in enumerate(frames):
        check_picture(frame, index)
    return from_uint8(torch.stack([fit_picture(frame, height, width, device, fit) for frame in frames]))


def fit_picture(
    picture: np.ndarray, height: int, width: int, device: torch.device | str, fit: CameraFit = DEFAULT_FIT
) -> Tensor:
    """One picture that `check_picture` has passed, as `fit_frames` does it -> (3, height, width) uint8 on
    `device`."""
    if fit == "fit":
        rows, columns = inside_bars(picture.shape[:2], height, width)
        inner = _resize(_to_tensor(picture).to(device), rows.stop - rows.start, columns.stop - columns.start)
        if inner.shape[1:] == (height, width):
            return inner
        whole = inner.new_zeros(3, height, width)
        whole[:, rows, columns] = inner
        return whole
    return _resize(_to_tensor(crop_to_fill(picture, height, width)).to(device), height, width)


def crop_to_fill(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest centred part of `frame` (H, W, ...) with the aspect ratio height : width; a view."""
    frame_height, frame_width = frame.shape[:2]
    scale = max(height / frame_height, width / frame_width)
    crop_height = min(frame_height, max(1, round(height / scale)))
    crop_width = min(frame_width, max(1, round(width / scale)))
    top = (frame_height - crop_height) // 2
    left = (frame_width - crop_width) // 2
    return frame[top : top + crop_height, left : left + crop_width]


def inside_bars(size: Sequence[int], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture of `height` x `width` in which all of one of `size` (height and width) is
    shown, as large as there is room and in the middle; around them are bars."""
    scale = min(height / size[0], width / size[1])
    inner_height = min(height, max(1, round(size[0] * scale)))
    inner_width = min(width, max(1, round(size[1] * scale)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    return slice(top, top + inner_height), slice(left, left + inner_width)


def check_picture(frame: np.ndarray, index: int) -> None:
    """Raises ValueError that names frame number `index` unless it is (H, W, 3) uint8."""
    # Callers hand over what a decoder gave them, so the type is checked as well as the shape.
    if not isinstance(frame, np.ndarray):
        got = type(frame).__name__
        raise ValueError(f"frames[{index}]: expected a numpy array (H, W, 3) uint8, got {got}")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"frames[{index}]: expected (H, W, 3) uint8, got {frame.shape} {frame.dtype}")


def _to_tensor(picture: np.ndarray) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W), in the picture's memory order, which the fast path of `_resize` needs."""
    picture = np.ascontiguousarray(picture)
    if not picture.flags.writeable:  # torch has no read-only tensors
        picture = picture.copy()
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    """(1, 3, H, W) uint8 -> (3, height, width) uint8."""
    if tuple(picture.shape[2:]) == (height, width):
        return picture[0]
    if picture.device.type != "cpu":  # only the CPU resizes integers
        resized = F.interpolate(picture.float(), size=(height, width), mode="bilinear", antialias=True)
        return resized.round_().to(torch.uint8)[0]
    # Integers with SIMD: five to fifteen times as fast as floats here.
    return F.interpolate(picture, size=(height, width), mode="bilinear", antialias=True)[0]
