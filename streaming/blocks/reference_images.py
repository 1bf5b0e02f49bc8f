"""Reference pictures from files or memory, made ready for the control encoder."""

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from streaming.api import MAX_REFERENCES
from streaming.frames import from_uint8

ReferenceImage = str | Path | Image.Image | Tensor


def check_references(images: Sequence[ReferenceImage]) -> None:
    """Raises ValueError unless there are 1 ... 3 of a known kind."""
    is_list = isinstance(images, Sequence) and not isinstance(images, str)
    if not is_list or not 1 <= len(images) <= MAX_REFERENCES:
        given = f"{len(images)} images" if is_list else f"one {type(images).__name__}"
        raise ValueError(f"ref_images must be a list of 1 to {MAX_REFERENCES} images, got {given}")
    for index, image in enumerate(images):
        if not isinstance(image, str | Path | Image.Image | Tensor):
            raise ValueError(
                f"ref_images[{index}] must be a path, a PIL image or a tensor, got {type(image).__name__}"
            )
        if isinstance(image, Tensor) and (image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape):
            raise ValueError(f"ref_images[{index}] must be (3, H, W) in [-1, 1], got {tuple(image.shape)}")


def reference_key(image: ReferenceImage) -> Hashable:
    """Equal for equal pictures; for a file it changes when the file does. Raises OSError if there is no
    file."""
    if isinstance(image, str | Path):
        stat = Path(image).stat()
        return str(image), stat.st_mtime_ns, stat.st_size
    if isinstance(image, Tensor):
        pixels = image.detach().to("cpu", torch.float32).contiguous().numpy()
    else:
        pixels = np.asarray(image.convert("RGB"))
    return pixels.shape, hashlib.sha256(pixels.tobytes()).digest()


def load_reference(image: ReferenceImage) -> Tensor:
    """(3, H, W) float32 in [-1, 1], upright. Raises OSError if a file cannot be read as a picture."""
    if isinstance(image, Tensor):
        return image.float()
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image).convert("RGB")
    else:
        with Image.open(image) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    return from_uint8(torch.from_numpy(np.array(upright)).movedim(-1, 0))


def reference_of(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """Pixels (H, W, 3) uint8 RGB -> (3, h, w) float32 in [-1, 1], no larger than fits a picture of `height` x
    `width`: shrunk with antialiasing, which a photo of many megapixels needs and `fit_reference` leaves out.
    """
    picture = torch.from_numpy(np.array(pixels)).movedim(-1, 0)
    scale = min(height / picture.shape[1], width / picture.shape[2])
    if scale < 1:
        inner = [max(1, int(side * scale)) for side in picture.shape[1:]]
        picture = F.interpolate(picture[None], size=inner, mode="bilinear", antialias=True)[0]
    return from_uint8(picture)


def fit_reference(image: Tensor, height: int, width: int) -> Tensor:
    """(3, H, W) -> (3, height, width): scaled to fit whole, centred on white, as VACE was trained."""
    if image.shape[1:] == (height, width):
        return image
    scale = min(height / image.shape[1], width / image.shape[2])
    inner = [max(1, int(side * scale)) for side in image.shape[1:]]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = image.new_ones(3, height, width)
    canvas[:, top : top + inner[0], left : left + inner[1]] = F.interpolate(
        image[None], size=inner, mode="bilinear", align_corners=False
    )[0]
    return canvas
