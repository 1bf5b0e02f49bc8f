"""Depth clips for the pipeline: maps of any source made into the control video, and its chunks."""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)


def preprocess_depth_frames(
    depth_frames: Tensor | np.ndarray,
    target_height: int,
    target_width: int,
    device: torch.device | str,
    *,
    value_range: tuple[float, float] | None = None,
) -> Tensor:
    """Depth maps (F, H, W), larger = nearer -> (1, 1, F, target_height, target_width) float32 in [-1, 1].

    With `value_range = (far, near)`, `far` becomes -1, `near` +1, and values beyond are clamped. Without it,
    the range is guessed: uint8 is 0 ... 255; values within [0, 1] are stretched to [-1, 1]; others within
    [-1, 1] are kept; anything else is stretched from its own minimum and maximum over the whole clip. The
    guess errs for maps in [-1, 1] that happen to hold nothing below 0, and it differs from chunk to chunk of
    one stream: pass the range wherever it is known.

    NaN becomes 0 (middle), +Inf +1, -Inf -1, counted in one log line. Raises ValueError or TypeError naming
    what is wrong.
    """
    depth = _as_tensor(depth_frames)
    if depth.ndim != 3 or 0 in depth.shape:
        raise ValueError(f"depth_frames: expected (F, H, W) with no empty side, got {tuple(depth.shape)}")
    if target_height < 1 or target_width < 1:
        raise ValueError(f"target size: expected at least 1x1, got {target_height}x{target_width}")
    depth = depth.to(device)
    far, near = _value_range(depth) if value_range is None else _checked(value_range)
    bad = count_non_finite(depth)
    if bad:
        logger.warning("depth_frames: replaced %d of %d values that are NaN or Inf", bad, depth.numel())
    # Before the resize, which would spread one NaN over its neighbours.
    depth = stretch_depth(depth.float(), far, near)
    # (F, 1, H, W): the time axis is the batch of the resize.
    depth = F.interpolate(
        depth[:, None], size=(target_height, target_width), mode="bilinear", align_corners=False
    )
    return depth.transpose(0, 1)[None].contiguous()


def extract_depth_chunk(depth_video: Tensor, chunk_index: int, num_frames_per_chunk: int = 12) -> Tensor:
    """Chunk `chunk_index`, from 0, of a video (1, C, F, H, W) -> (1, C, num_frames_per_chunk, H, W), a view.

    Chunks do not overlap: chunk N holds frames 12 N to 12 N + 11. Descriptions of this model that have chunk
    N+1 begin three frames before chunk N ends (9-20 after 0-11) do not fit its arithmetic: nothing is blended
    between chunks, and a step of 9 would show the same depth twice. What is true in them is that a stream's
    first chunk makes 9 frames, not 12; the pipeline takes the newest 9 of the 12 given to its first call
    (frames 3-11), so that chunk 1 goes on with frame 12 and depth stays aligned with the output.

    Raises ValueError if the video does not hold the whole chunk.
    """
    if depth_video.ndim != 5 or depth_video.shape[0] != 1:
        raise ValueError(f"depth_video: expected (1, C, F, H, W), got {tuple(depth_video.shape)}")
    if num_frames_per_chunk < 1:
        raise ValueError(f"num_frames_per_chunk: expected at least 1, got {num_frames_per_chunk}")
    available = depth_video.shape[2]
    first = chunk_index * num_frames_per_chunk
    if chunk_index < 0 or first + num_frames_per_chunk > available:
        raise ValueError(
            f"chunk_index: expected 0 <= chunk_index < {available // num_frames_per_chunk}, "
            f"got {chunk_index} ({available} frames available, {num_frames_per_chunk} per chunk)"
        )
    return depth_video[:, :, first : first + num_frames_per_chunk]


def stretch_depth(depth: Tensor, far: float, near: float) -> Tensor:
    """Depth of any shape, float32 -> [-1, 1]: far -> -1, near -> 1, clamped; NaN -> 0, Inf -> 1, -Inf -> -1.

    A map with one value everywhere (far == near) has nothing near: -1.
    """
    if far == near:
        depth = torch.where(depth.isfinite(), -1.0, depth)
    else:
        # From the middle, so that values already in [-1, 1] pass bit for bit.
        depth = ((depth - (far + near) / 2) * (2 / (near - far))).clamp(-1, 1)
    return torch.nan_to_num(depth, nan=0.0, posinf=1.0, neginf=-1.0)


def count_non_finite(depth: Tensor) -> int:
    """How many values are NaN or Inf."""
    return int((~depth.isfinite()).sum())


def _as_tensor(depth_frames: Tensor | np.ndarray) -> Tensor:
    """uint8 or float32 tensor of any real input, not shared with a read-only array."""
    if isinstance(depth_frames, np.ndarray):
        if depth_frames.dtype.kind not in "uif":
            raise TypeError(f"depth_frames: expected numbers, got dtype {depth_frames.dtype}")
        wanted = np.uint8 if depth_frames.dtype == np.uint8 else np.float32
        return torch.from_numpy(depth_frames.astype(wanted))
    if not isinstance(depth_frames, Tensor):
        raise TypeError(f"depth_frames: expected a tensor or numpy array, got {type(depth_frames).__name__}")
    if depth_frames.dtype == torch.bool or depth_frames.is_complex():
        raise TypeError(f"depth_frames: expected numbers, got dtype {depth_frames.dtype}")
    return depth_frames if depth_frames.dtype == torch.uint8 else depth_frames.float()


def _value_range(depth: Tensor) -> tuple[float, float]:
    """The (far, near) that the values themselves suggest; see `preprocess_depth_frames`."""
    if depth.dtype == torch.uint8:
        return 0.0, 255.0
    finite = depth[depth.isfinite()]
    if finite.numel() == 0:
        return -1.0, 1.0
    low, high = finite.min().item(), finite.max().item()
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return low, high


def _checked(value_range: tuple[float, float]) -> tuple[float, float]:
    far, near = value_range
    if not -np.inf < far < near < np.inf:
        raise ValueError(f"value_range: expected finite (far, near) with far < near, got {value_range}")
    return far, near
