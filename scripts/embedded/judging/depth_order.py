"""Test of estimated depth: which of two points is nearer, marked by hand on real clips and photos.

    marked = MarkedPictures()
    for pixels, pairs in marked:
        correct, total = ordinal_accuracy(depth_of(pixels), pairs)

tests/data/depth_order.json holds the marks only. The pictures lie in packages that are looked up, never
imported; `missing` lists what is not installed.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from scripts.video_file import VideoReader

MARKS = Path(__file__).resolve().parents[3] / "tests" / "data" / "depth_order.json"

# Half the side of the square whose median stands for a point, as a share of the width: 5 x 5 pixels of 200.
# Marks keep 3 % away from edges.
_REACH = 0.01

Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]  # x, y: fractions of width and height, from the upper left corner


class Pair(BaseModel):
    """Two points of one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    near: Point
    far: Point


class Marks(BaseModel):
    """The pairs of one picture, and where it lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str  # as the package index names it
    file: str  # its path inside the installed package or the unzipped wheel
    frame: Annotated[int, Field(ge=0)] | None = None  # of a clip, counted from 0; None: the file is a photo
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]

    def __str__(self) -> str:
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"{self.package}: {self.file}{frame}"


class MarksFile(BaseModel):
    """tests/data/depth_order.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    pictures: tuple[Marks, ...]


class MarkedPictures:
    """The marked pictures that are on this machine, as (pixels, pairs); iterating reads them.

    Pixels: (H, W, 3) uint8 RGB, with square pixels. `found` and `missing` tell which ones those are.
    """

    def __init__(self, folder: Path | None = None, marks: Path = MARKS) -> None:
        """`folder`: where wheels were unzipped, for packages that are not installed.

        Raises pydantic.ValidationError, which names the field, if `marks` is not a file of marks.
        """
        self.found: list[tuple[Marks, Path]] = []
        self.missing: list[Marks] = []
        for picture in MarksFile.model_validate_json(marks.read_bytes()).pictures:
            path = _find(picture, folder)
            if path is None:
                self.missing.append(picture)
            else:
                self.found.append((picture, path))

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], tuple[Pair, ...]]]:
        """Photos and clips in the order of the file, all marked frames of a clip together.

        Raises VideoFileError or OSError for a file that cannot be read, ValueError for a frame past its end.
        """
        by_path: dict[Path, list[Marks]] = {}
        for picture, path in self.found:
            by_path.setdefault(path, []).append(picture)
        for path, pictures in by_path.items():
            frames = _frames(path, {p.frame for p in pictures if p.frame is not None})
            for picture in pictures:
                yield _photo(path) if picture.frame is None else frames[picture.frame], picture.pairs


def ordinal_accuracy(depth: NDArray[np.floating], pairs: Sequence[Pair]) -> tuple[int, int]:
    """(correct, total): in how many pairs the near point has the larger value.

    `depth`: (H, W), any range and size, larger is nearer. A point counts as the median of a small square
    around it. Equal values are wrong, and so is NaN. Raises ValueError for any other shape.
    """
    if depth.ndim != 2 or not depth.size:
        raise ValueError(f"depth: expected (H, W), not empty, got shape {depth.shape}")
    return sum(bool(_value(depth, p.near) > _value(depth, p.far)) for p in pairs), len(pairs)


def _value(depth: NDArray[np.floating], point: Point) -> float:
    height, width = depth.shape
    column, row = min(int(point[0] * width), width - 1), min(int(point[1] * height), height - 1)
    reach = round(width * _REACH)
    square = depth[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return float(np.median(square))


def _find(picture: Marks, folder: Path | None) -> Path | None:
    places = [folder / picture.file] if folder else []
    try:
        places.append(Path(str(distribution(picture.package).locate_file(picture.file))))
    except PackageNotFoundError:
        pass
    return next((path for path in places if path.is_file()), None)


def _frames(path: Path, numbers: set[int]) -> dict[int, NDArray[np.uint8]]:
    if not numbers:
        return {}
    frames: dict[int, NDArray[np.uint8]] = {}
    with VideoReader(path) as clip:
        for number, picture in enumerate(clip.pictures()):
            if number in numbers:
                frames[number] = picture.pixels
            if len(frames) == len(numbers):
                return frames
    raise ValueError(f"{path}: has no frame {min(numbers - frames.keys())}")


def _photo(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB"))
