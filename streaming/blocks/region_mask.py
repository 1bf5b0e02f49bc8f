"""A region of the picture, drawn or by distance: the model paints inside it, the camera stays outside."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from streaming.api import DEFAULT_FIT, CameraFit, DistanceRegion
from streaming.frames import crop_to_fill, inside_bars

_PAINTS_FROM = 128  # brightness; a brush's soft edge is halved here
_BORDER = 48  # the soft border's width is the picture's height over this: 3 pixels of 144, 10 of 480


@dataclass(frozen=True, slots=True, eq=False)
class RegionMask:
    """Two things make the region, and one would not do.

    The control tells the model to keep the camera's picture there (VACE's inactive video), so that what it
    paints goes on into it. What comes back has been through the autoencoder, though, and is soft: a face that
    is "kept" would be smoothed. So the camera's own pixels are laid over the decoded picture outside the
    region, as sharp as they came, and fade into it over a border. The border of a drawn region lies outside
    it: all that was asked to be painted is painted.
    """

    paint: Tensor  # (1, 1, T, height, width) float32: 1 = paint, 0 = keep; T is 1 where all frames are alike
    share: Tensor  # (T, height, width, 1) float32: the generated picture's share of the shown one

    @classmethod
    def of(
        cls,
        mask: np.ndarray,
        height: int,
        width: int,
        device: torch.device | str,
        fit: CameraFit = DEFAULT_FIT,
    ) -> Self | None:
        """mask (H, W) or RGB (H, W, 3) uint8, bright = paint, fitted as the camera is: cropped, or whole, its
        edges drawn out over the bars. None if nothing is kept."""
        if mask.ndim == 3:
            mask = np.asarray(Image.fromarray(mask).convert("L"))
        rows, columns = slice(0, height), slice(0, width)
        if fit == "fit":
            rows, columns = inside_bars(mask.shape, height, width)
        else:
            mask = crop_to_fill(mask, height, width)
        size = rows.stop - rows.start, columns.stop - columns.start
        shown = torch.from_numpy(np.array(mask))[None, None].float()
        fitted = F.interpolate(shown, size=size, mode="bilinear", antialias=True)
        bars = columns.start, width - columns.stop, rows.start, height - rows.stop
        fitted = F.pad(fitted, bars, mode="replicate")
        paint = (fitted >= _PAINTS_FROM).float()
        return None if bool(paint.all()) else cls.of_paint(paint[None]).to(device)

    @classmethod
    def of_paint(cls, paint: Tensor) -> Self:
        """paint (1, 1, 1, height, width) float32: 1 = paint, 0 = keep, of a drawn region."""
        # Half way up at the region's edge, so twice that ends at it.
        share = torch.maximum(paint[0], (2 * _softened(paint[0])).clamp(max=1))
        return cls(paint, share[:, 0, :, :, None])

    @classmethod
    def of_depth(cls, depth: Tensor, wanted: DistanceRegion) -> Self:
        """depth (T, H, W) in [-1, 1], near = +1, frame by frame. The edge is soft in depth and on the
        picture, where depth jumps."""
        inside = (depth + 1) / 2 - wanted.distance
        if wanted.side == "far":
            inside = -inside
        # Even the hardest edge has a side that a value right on it belongs to.
        slope = inside / wanted.softness + 0.5 if wanted.softness else (inside >= 0).float()
        share = _softened(slope.clamp(0, 1)[:, None])
        return cls((share >= 0.5).float().movedim(0, 1)[None], share[:, 0, :, :, None])

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.paint.to(device), self.share.to(device))

    def within(self, other: Self | None) -> Self:
        """What lies in both."""
        if other is None:
            return self
        return type(self)(self.paint * other.paint, self.share * other.share)

    def control(self, frames: int) -> Tensor:
        """(1, 1, frames, height, width), as the pipeline's `vace_input_masks`."""
        return self.paint.expand(-1, -1, frames, -1, -1)

    def composite(self, generated: Tensor, camera: Tensor, first: int = 0) -> Tensor:
        """Generated (t, H, W, 3) in [0, 1] and camera (t, 3, H, W) in [-1, 1], from frame `first` of the
        chunk on -> (t, H, W, 3) float32 in [0, 1]; beyond the border it is the camera's, grey level by grey
        level."""
        kept = camera.float().movedim(1, -1) * 0.5 + 0.5
        share = self.share if len(self.share) == 1 else self.share[first : first + len(generated)]
        return torch.lerp(kept, generated.float(), share)


def _softened(mask: Tensor) -> Tensor:
    """(T, 1, H, W) in [0, 1], its edges drawn out to the border's width: two boxes make a slope without
    corners, twice as far as one."""
    reach = max(1, mask.shape[2] // (2 * _BORDER))
    for _ in range(2):
        mask = F.avg_pool2d(F.pad(mask, [reach] * 4, mode="replicate"), 2 * reach + 1, stride=1)
    return mask
