"""Contact sheets: many generated pictures on one PNG, to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

_MARGIN, _LABEL = 6, 16  # pixels


@dataclass(slots=True)
class Sheet:
    """Rows of equally large pictures, each row with a text above it."""

    title: str  # what the columns are
    columns: int = 1  # rows stand in so many columns beside each other
    rows: list[tuple[str, list[Image.Image]]] = field(default_factory=list)

    def add(self, label: str, pictures: Sequence[Tensor]) -> None:
        """Pictures (3, H, W) or (H, W) in [0, 1]."""
        self.rows.append((label, [_image(picture) for picture in pictures]))

    def save(self, path: Path) -> None:
        """Writes PNG; nothing without rows."""
        if not self.rows:
            return
        width = max(sum(p.width + _MARGIN for p in pictures) for _, pictures in self.rows) + _MARGIN
        height = max(p.height for _, pictures in self.rows for p in pictures) + _LABEL + _MARGIN
        down = -(-len(self.rows) // self.columns)
        canvas = Image.new("RGB", (width * self.columns, height * down + _LABEL), "#202124")
        draw = ImageDraw.Draw(canvas)
        draw.text((_MARGIN, 2), self.title, fill="#ffd54a")
        for index, (label, pictures) in enumerate(self.rows):
            x, y = index // down * width + _MARGIN, index % down * height + _LABEL
            # The font that comes with Pillow knows Latin-1 only.
            draw.text((x, y + 2), label.encode("latin-1", "replace").decode("latin-1"), fill="#ffffff")
            for picture in pictures:
                canvas.paste(picture, (x, y + _LABEL))
                x += picture.width + _MARGIN
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.save(path, optimize=True)


def _image(picture: Tensor) -> Image.Image:
    if picture.ndim == 2:
        picture = picture.expand(3, *picture.shape)
    pixels = (picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.movedim(0, -1).contiguous().cpu().numpy())
