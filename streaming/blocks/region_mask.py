"""A region drawn by a person: the model paints inside it, the camera stays outside."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from streaming.frames import crop_to_fill

_PAINTS_FROM = 128  # brightness; a brush's soft edge is halved here
_BORDER = 48  # the soft border's width is the picture's height over this: 3 pixels of 144, 10 of 480


@dataclass(frozen=True, slots=True, eq=False)
class RegionMask:
    """Two things make the region, and one would not do.

    The control tells the model to keep the camera's picture there (VACE's inactive video), so that what it
    paints goes on into it. What comes back has been through the autoencoder, though, and is soft: a face that
    is "kept" would be smoothed. So the camera's own pixels are laid over the decoded picture outside the
    region, as sharp as they came, and fade into it over a border. The border lies outside the region: all
    that was asked to be painted is painted.
    """

    paint: Tensor  # (1, 1, 1, height, width) float32: 1 = paint, 0 = keep
    share: Tensor  # (height, width, 1) float32: the generated picture's share of the shown one

    @classmethod
    def of(cls, mask: np.ndarray, height: int, width: int, device: torch.device | str) -> Self | None:
        """mask (H, W) or RGB (H, W, 3) uint8, bright = paint, cropped as the camera is; None if nothing is
        kept."""
        if mask.ndim == 3:
            mask = np.asarray(Image.fromarray(mask).convert("L"))
        cropped = torch.from_numpy(np.array(crop_to_fill(mask, height, width)))[None, None]
        fitted = F.interpolate(cropped.float(), size=(height, width), mode="bilinear", antialias=True)
        paint = (fitted >= _PAINTS_FROM).float()
        if bool(paint.all()):
            return None
        soft, reach = paint, max(1, height // (2 * _BORDER))
        for _ in range(2):  # two boxes make a slope without corners, twice as far as one
            soft = F.avg_pool2d(F.pad(soft, [reach] * 4, mode="replicate"), 2 * reach + 1, stride=1)
        share = torch.maximum(paint, (2 * soft).clamp(max=1))  # half way up at the region's edge
        return cls(paint[None].to(device), share[0, 0, :, :, None].to(device))

    def control(self, frames: int) -> Tensor:
        """(1, 1, frames, height, width), as the pipeline's `vace_input_masks`."""
        return self.paint.expand(-1, -1, frames, -1, -1)

    def composite(self, generated: Tensor, camera: Tensor) -> Tensor:
        """Generated (T, H, W, 3) in [0, 1] and camera (T, 3, H, W) in [-1, 1] -> (T, H, W, 3) float32 in
        [0, 1]; beyond the border it is the camera's, grey level by grey level."""
        kept = camera.float().movedim(1, -1) * 0.5 + 0.5
        return torch.lerp(kept, generated.float(), self.share)
