"""Shapes of picture that the streams of one model may have: its size as loaded, and that turned.

Either has as many pixels, latents and tokens, in another grid. So networks, buffers, keys and values are the
same; what differs is here, and who needs it finds it by the grid of a stream's ring.
"""

from collections.abc import Callable
from dataclasses import dataclass

from streaming.api import Orientation
from streaming.blocks.vace_encoding import VaceEncodingBlock
from streaming.checkpoints.presets import Preset
from streaming.config import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One of them."""

    height: int  # pixels
    width: int
    latent_size: tuple[int, int]
    grid: tuple[int, int]  # rows and columns of a latent's tokens
    control: VaceEncodingBlock

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class Shapes:
    """A model that is loaded upright, or for streams that may not be turned, has one shape; so has a square
    one, in both orientations."""

    def __init__(
        self, preset: Preset, control_of: Callable[[Preset], VaceEncodingBlock], *, turns: bool
    ) -> None:
        """`control_of` gives the block that encodes the controls of a preset's size."""
        self.loaded = _shape_of(preset, control_of)
        self._upright: Shape | None = None
        if preset.width == preset.height:
            self._upright = self.loaded
        elif turns and preset.width > preset.height and (turned := _turned(preset)) is not None:
            self._upright = _shape_of(turned, control_of)

    @property
    def can_turn(self) -> bool:
        return self._upright is not None

    def of(self, orientation: Orientation) -> Shape:
        """Raises ValueError for one that streams cannot have."""
        if orientation == "wide":
            return self.loaded
        if self._upright is None:
            size = f"{self.loaded.width}x{self.loaded.height}"
            raise ValueError(f"orientation: expected wide, streams of {size} cannot be turned, got upright")
        return self._upright

    def of_grid(self, grid: tuple[int, int]) -> Shape:
        """Of a ring that `grid` was given to."""
        if self._upright is not None and grid == self._upright.grid:
            return self._upright
        return self.loaded


def _shape_of(preset: Preset, control_of: Callable[[Preset], VaceEncodingBlock]) -> Shape:
    (rows, columns), (_, patch_h, patch_w) = preset.latent_size, preset.transformer.patch_size
    grid = rows // patch_h, columns // patch_w
    return Shape(preset.height, preset.width, preset.latent_size, grid, control_of(preset))


def _turned(preset: Preset) -> Preset | None:
    """None: width and height have to be multiples of different numbers, and cannot be exchanged."""
    try:
        return preset.turned()
    except ConfigError:
        return None
