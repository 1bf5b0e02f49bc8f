"""What a person asks of a running stream, and what a chunk gives back: plain values, arrays at the border."""

from dataclasses import dataclass, field

import numpy as np

from streaming.blocks.prompt_blend import BlendCurve, check_blend
from streaming.blocks.reference_images import MAX_REFERENCES
from streaming.blocks.text_conditioning import WeightedPrompts
from streaming.config import ConfigError, SamplerConfig
from streaming.depth_settings import DepthSettings
from streaming.pipeline import Transition

MAX_PROMPTS = 8
MAX_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What changes before a chunk; None and False leave things as they are.

    Raises ValueError naming the field, the value and what was expected.
    """

    prompts: WeightedPrompts | None = None  # (text, weight) pairs; only the ratio of weights counts
    transition: Transition = "recache"  # how new prompts take effect
    blend_chunks: int = 4  # 1 ... 32
    blend_curve: BlendCurve = "slerp"
    guidance_scale: float | None = None  # 0 ... 2
    adaptive: float | None = None  # 0 ... 1: how far the scale follows the motion of depth
    depth: DepthSettings | None = None
    references: tuple[np.ndarray, ...] | None = None  # up to 3 pictures (H, W, 3) uint8 RGB; () clears
    mask: np.ndarray | None = None  # (H, W) uint8: 255 = generate, 0 = keep the camera; all 255: no mask
    steps: tuple[int, ...] | None = None  # up to 8 denoising steps, falling within 1000 ... 1; () the model's
    reset: bool = False  # hard reset that keeps the prompt
    seed: int | None = None  # for a reset or cut

    def __post_init__(self) -> None:
        if self.prompts is not None and not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise ValueError(f"prompts must be 1 to {MAX_PROMPTS}, got {len(self.prompts)}")
        check_blend(self.blend_chunks, self.blend_curve)
        for name, value, largest in (
            ("guidance_scale", self.guidance_scale, 2),
            ("adaptive", self.adaptive, 1),
        ):
            if value is not None and not 0 <= value <= largest:  # False for NaN, too
                raise ValueError(f"{name} must be 0 ... {largest}, got {value}")
        self._check_references()
        if self.mask is not None and (
            self.mask.dtype != np.uint8 or self.mask.ndim != 2 or 0 in self.mask.shape
        ):
            raise ValueError(f"mask must be (H, W) uint8, got {self.mask.shape} {self.mask.dtype}")
        if self.steps:
            self._check_steps(self.steps)

    @property
    def starts_over(self) -> bool:
        return self.reset or (self.prompts is not None and self.transition == "cut")

    def _check_references(self) -> None:
        given = self.references or ()
        if len(given) > MAX_REFERENCES:
            raise ValueError(f"references must be at most {MAX_REFERENCES} pictures, got {len(given)}")
        for index, picture in enumerate(given):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
                raise ValueError(
                    f"references[{index}] must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}"
                )

    @staticmethod
    def _check_steps(steps: tuple[int, ...]) -> None:
        try:
            is_possible = len(steps) <= MAX_STEPS and SamplerConfig(denoising_step_list=steps) is not None
        except ConfigError:
            is_possible = False
        if not is_possible:
            raise ValueError(f"steps must be 1 to {MAX_STEPS} that fall within 1000 ... 1, got {list(steps)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """A chunk's pictures, or those of them that are there already: a piece, of which the rest follows."""

    frames: np.ndarray  # (T, height, width, 3) uint8 RGB
    chunk: int  # index since the last hard reset
    first_frame: int  # index of frames[0] since the stream was opened
    frames_in_chunk: int  # T, unless it is a piece
    generation: int  # rises with every hard reset
    guidance_scale: float  # what the chunk was guided with, motion of depth counted in
    depth_preview: np.ndarray | None = None  # (72, 128) uint8, near = 255: the depth of frames[-1]; None: off
    timings_ms: dict[str, float] = field(default_factory=dict)  # by stage, and "total"; empty in a piece
