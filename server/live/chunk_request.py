"""What one chunk is made of, and the same in the engine's own words. Runs in the model's thread."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.live.parameters import Change
from server.media.frames import Rgb

if TYPE_CHECKING:
    from streaming.engine import ChunkResult, Controls, DepthSettings, StreamEngine


class EngineModule(Protocol):
    """The part of streaming.engine that the server uses; tests bring their own."""

    @property
    def StreamEngine(self) -> "type[StreamEngine]": ...

    @property
    def Controls(self) -> "type[Controls]": ...

    @property
    def DepthSettings(self) -> "type[DepthSettings]": ...

    @property
    def GenerationFailed(self) -> type[Exception]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What people ask of one chunk."""

    change: Change
    references: tuple[Rgb, ...] | None = None  # the pictures of change.references
    mask: Rgb | None = None  # the picture of change.mask: bright = generate


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRequest:
    """What one chunk is made of."""

    frames: Callable[[], list[Rgb]]  # called in the thread: as many pictures as wanted, oldest first
    asked: Callable[[], Asked]  # called on the event loop, as late as the chunk can still take it
    painted: Callable[["ChunkResult"], None]  # called there, too, with each piece as soon as it is there


def controls_of(asked: Asked, api: EngineModule) -> "Controls":
    """What is asked, as the engine takes it. Raises ValueError for what it does not take."""
    change, depth = asked.change, asked.change.depth
    return api.Controls(
        prompts=change.prompts,
        transition=change.transition,
        blend_chunks=change.blend_chunks,
        blend_curve=change.blend_curve,
        guidance_scale=change.guidance_scale,
        adaptive=change.adaptive,
        depth=depth
        and api.DepthSettings(
            enabled=depth.enabled,
            smoothing=depth.smoothing,
            refinement=depth.refinement,
            points=tuple((point.x, point.y, point.value) for point in depth.points),
        ),
        references=asked.references,
        mask=_mask(asked),
        steps=change.steps,
        reset=change.reset,
        seed=change.seed,
    )


def _mask(asked: Asked) -> NDArray[np.uint8] | None:
    """(H, W) uint8, 255 = generate; one bright pixel says that there is no mask any more; None: unchanged."""
    if asked.change.mask is None:
        return None
    if asked.mask is None:
        return np.full((1, 1), 255, np.uint8)
    return np.asarray(Image.fromarray(asked.mask).convert("L"))
