"""Values between the model and its users: what a chunk is asked to do, what it gives, what runs, limits.

No torch here, so a server can import it while the models are still loading. Every limit and every default of
a stream is written here once: the engine, the wire and the page take them from this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import floor, isfinite
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from streaming.config import MAX_TIMESTEP, ConfigError, SamplerConfig

Transition: TypeAlias = Literal["recache", "cut", "blend"]
BlendCurve: TypeAlias = Literal["linear", "slerp"]
Speed: TypeAlias = Literal["exact", "fast"]
Decoder: TypeAlias = Literal["auto", "vae", "taehv"]
Gpus: TypeAlias = int | Literal["auto"]  # 1 and more, or all that are visible
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
WeightedPrompts: TypeAlias = tuple[tuple[str, float], ...]  # (text, weight); only the ratio of weights counts
Point: TypeAlias = tuple[float, float, float]  # x and y from the top left, value: all 0 ... 1, near = 1
ControlName: TypeAlias = Literal["depth", "gray", "lines"]
ControlStrengths: TypeAlias = tuple[tuple[ControlName, float], ...]  # 0 ... MAX_SCALE each; 0: off
NoiseFormula: TypeAlias = Literal["exact", "published"]
Side: TypeAlias = Literal["near", "far"]
LatencyLevel: TypeAlias = Literal["standard", "low", "lower", "lowest"]
Orientation: TypeAlias = Literal["wide", "upright"]  # the size as loaded; width and height exchanged
CameraFit: TypeAlias = Literal["fill", "fit"]  # of another aspect: cropped; whole, with bars

CONTROLS: tuple[ControlName, ...] = get_args(ControlName)
FIRST_CHUNK, CHUNK = 9, 12  # frames: latent 0 stands for one, every later latent for four
SEEN_TOGETHER = 3  # frames that are worth a call of `look_ahead`; a chunk is some of them

MAX_PROMPTS = 8
MAX_PROMPT_LENGTH = 1000  # characters of one text
MAX_STEPS = 8
MAX_REFERENCES = 3
MAX_SCALE = 2.0  # of guidance, and of each control; 0 is none
MAX_BLEND_CHUNKS = 32
MAX_POINTS = 64  # of sparse depth
MAX_SEED = 2**63 - 1
PUBLISHED_NOISE_ABOVE = 0.1  # below, the published formula's first timestep would not be above 0

DEFAULT_TRANSITION: Transition = "recache"
DEFAULT_BLEND_CHUNKS = 4
DEFAULT_BLEND_CURVE: BlendCurve = "slerp"
DEFAULT_SCALE = 1.0
DEFAULT_CONTROLS: ControlStrengths = (("depth", DEFAULT_SCALE),)  # of a model that says nothing else
DEFAULT_ADAPTIVE = 0.0
DEFAULT_NOISE_SCALE = 1.0  # nothing of the camera
LOWEST_NOISE_SCALE = 0.6  # of the latency "lowest"
DEFAULT_LATENCY: LatencyLevel = "standard"
DEFAULT_FIT: CameraFit = "fill"
DEFAULT_SIDE: Side = "near"
DEFAULT_SOFTNESS = 0.1


class GenerationFailed(RuntimeError):
    """Latents or frames were not finite, depth could not be estimated, or there was no memory. The session
    has been reset; the text names the chunk and what was wrong."""


class Clear(Enum):
    """The type of CLEAR: none from now on, where None means unchanged."""

    CLEAR = "clear"


CLEAR: Final = Clear.CLEAR


@dataclass(frozen=True, slots=True)
class DepthSettings:
    """How depth is estimated and used. Raises ValueError naming the field, the value and what was
    expected."""

    enabled: bool = True  # False: no depth guides the picture, and none is estimated
    smoothing: float = 0.0  # 0 ... 1: how much of the past a still pixel keeps
    refinement: float = 0.0  # 0 ... 1: how far the pictures generated last have a say in depth
    points: tuple[Point, ...] = ()  # sparse depth, which replaces the estimate; () is the camera's depth

    def __post_init__(self) -> None:
        for name, value in (("smoothing", self.smoothing), ("refinement", self.refinement)):
            if not 0 <= value <= 1:  # False for NaN, too
                raise ValueError(f"depth {name}: expected 0 ... 1, got {value}")
        if len(self.points) > MAX_POINTS:
            raise ValueError(f"depth points: expected at most {MAX_POINTS}, got {len(self.points)}")
        for index, point in enumerate(self.points):
            if len(point) != 3 or not all(0 <= value <= 1 for value in point):
                raise ValueError(f"depth points[{index}]: expected (x, y, value), each 0 ... 1, got {point}")


@dataclass(frozen=True, slots=True)
class CameraStart:
    """What a chunk's passes start from: noise, or the camera's own latents under noise.

    Raises ValueError naming the field, the value and what was expected.
    """

    noise_scale: float = (
        DEFAULT_NOISE_SCALE  # above 0 ... 1: share of noise; 1: noise alone, nothing of the camera
    )
    formula: NoiseFormula = "exact"  # which passes are left; see `Denoiser.from_camera`
    follows_motion: bool = False  # the scale falls while the camera's picture moves; see `MotionNoise`

    def __post_init__(self) -> None:
        if self.formula not in get_args(NoiseFormula):
            raise ValueError(f"formula must be {' or '.join(get_args(NoiseFormula))}, got {self.formula!r}")
        least = PUBLISHED_NOISE_ABOVE if self.formula == "published" else 0
        if not least < self.noise_scale <= 1:  # False for NaN, too
            of = f" with formula {self.formula}" if least else ""
            raise ValueError(f"noise_scale must be above {least:g} ... 1{of}, got {self.noise_scale}")


@dataclass(frozen=True, slots=True)
class DistanceRegion:
    """The part of the picture that is generated, by its depth, frame by frame; elsewhere is the camera.

    Raises ValueError naming the field, the value and what was expected.
    """

    distance: float  # 0 ... 1 of the depth there is, near = 1
    side: Side = DEFAULT_SIDE  # what is generated: nearer than `distance`, or farther
    softness: float = DEFAULT_SOFTNESS  # 0 ... 1: how much depth the edge takes, half of it on either side

    def __post_init__(self) -> None:
        for name, value in (("distance", self.distance), ("softness", self.softness)):
            if not 0 <= value <= 1:  # False for NaN, too
                raise ValueError(f"distance region {name}: expected 0 ... 1, got {value}")
        if self.side not in get_args(Side):
            raise ValueError(
                f"distance region side: expected {' or '.join(get_args(Side))}, got {self.side!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkParameters:
    """What a chunk is asked to change before it is made; None and False leave things as they are.

    Raises ValueError naming the field, the value and what was expected.
    """

    prompts: WeightedPrompts | None = None  # 1 to MAX_PROMPTS
    transition: Transition = DEFAULT_TRANSITION  # how new prompts take effect
    blend_chunks: int = DEFAULT_BLEND_CHUNKS  # 1 ... MAX_BLEND_CHUNKS
    blend_curve: BlendCurve = DEFAULT_BLEND_CURVE
    guidance_scale: float | None = None  # 0 ... MAX_SCALE: the strength of depth
    controls: ControlStrengths | None = None  # those that change; depth's is the guidance_scale
    adaptive: float | None = None  # 0 ... 1: how far the scale follows the motion of depth
    depth: DepthSettings | None = None
    references: tuple[np.ndarray, ...] | Clear | None = None  # 1 to MAX_REFERENCES, (H, W, 3) uint8 RGB each
    # (H, W) uint8: 255 = generate, 0 = keep the camera; of a picture (H, W, 3) uint8 RGB the brightness.
    mask: np.ndarray | Clear | None = None
    distance_region: DistanceRegion | Clear | None = None  # beside the mask: generated is what lies in both
    camera_start: CameraStart | None = None
    first_picture: np.ndarray | None = None  # (H, W, 3) uint8 RGB that a stream, reset or cut begins with
    steps: tuple[int, ...] | Clear | None = None  # falling within MAX_TIMESTEP ... 1; CLEAR: the model's own
    orientation: Orientation | None = None  # another than now: the stream begins anew in it, as by a reset
    fit: CameraFit | None = None  # how camera frames of another aspect are fitted
    reset: bool = False  # hard reset that keeps the prompt
    seed: int | None = None  # for a reset or cut

    def __post_init__(self) -> None:
        if self.prompts is not None:
            _check_prompts(self.prompts)
        if self.transition not in get_args(Transition):
            raise ValueError(f"transition must be one of {get_args(Transition)}, got {self.transition!r}")
        check_blend(self.blend_chunks, self.blend_curve)
        _check_one_of("orientation", self.orientation, get_args(Orientation))
        _check_one_of("fit", self.fit, get_args(CameraFit))
        for name, value, largest in (
            ("guidance_scale", self.guidance_scale, MAX_SCALE),
            ("adaptive", self.adaptive, 1),
        ):
            if value is not None and not 0 <= value <= largest:  # False for NaN, too
                raise ValueError(f"{name} must be 0 ... {largest:g}, got {value}")
        if self.controls is not None:
            _check_controls(self.controls, self.guidance_scale)
        if isinstance(self.references, tuple):
            _check_references(self.references)
        if self.first_picture is not None:
            _check_picture("first_picture", self.first_picture)
        if isinstance(self.mask, np.ndarray):
            _check_mask(self.mask)
        if isinstance(self.steps, tuple):
            _check_steps(self.steps)

    @property
    def starts_over(self) -> bool:
        """Whether the stream begins afresh: the chunk is a first one again."""
        return self.reset or (self.prompts is not None and self.transition == "cut")

    @property
    def is_switch(self) -> bool:
        """Whether the picture gets another look at once."""
        return self.starts_over or self.recaches

    @property
    def recaches(self) -> bool:
        """Whether the model has to compute its window anew, for half a chunk's time or more."""
        return self.recached is not None

    @property
    def recached(self) -> WeightedPrompts | None:
        """The prompts under which the window is computed anew, if it is."""
        return self.prompts if self.transition == "recache" and not self.reset else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """A chunk's pictures, or those of them that are there already: a piece, of which the rest follows."""

    frames: np.ndarray  # (T, height, width, 3) uint8 RGB
    chunk: int  # index since the last hard reset
    first_frame: int  # index of frames[0] since the stream was opened
    frames_in_chunk: int  # T, unless it is a piece
    generation: int  # rises with every hard reset
    guidance_scale: float  # depth's strength in the chunk, motion of depth counted in
    noise_scale: float = 1.0  # of the chunk's start, motion counted in
    frames_wanted: int = CHUNK  # by the stream's next chunk
    # Each (72, 128) uint8, as the model was shown frames[-1]; None: off. Of depth near = 255.
    depth_preview: np.ndarray | None = None
    gray_preview: np.ndarray | None = None
    lines_preview: np.ndarray | None = None
    timings_ms: dict[str, float] = field(default_factory=dict[str, float])  # by stage, and "total"; or empty


@dataclass(frozen=True, slots=True)
class Look:
    """A prompt that the model is known to follow well."""

    name: str  # for people, unique
    prompt: str
    thumbnail: Path | None  # a picture that is there, its file name unique; None: there is no picture


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs, for people and clients."""

    model: str
    trained: bool  # False: seeded random weights; say so wherever the model is named
    depth: str
    device: str
    dtype: str
    width: int
    height: int
    steps: tuple[int, ...]  # timesteps of denoising that the model takes by itself, falling
    about: str  # the trained weights, in a few words; may be empty
    looks: tuple[Look, ...]  # may be empty
    controls: ControlStrengths = DEFAULT_CONTROLS  # that a stream begins with; those not named are off
    allowed_controls: tuple[ControlName, ...] = CONTROLS  # for the others there is no memory
    can_turn: bool = True  # whether a stream may be upright


def sampling_at(latency: LatencyLevel, own: tuple[int, ...]) -> tuple[tuple[int, ...] | Clear, float]:
    """Denoising steps and noise scale of a latency, for a model whose `own` steps fall.

    standard: its own, from noise alone. low and lower: one and two fewer, of its own those nearest to evenly
    spaced ones. lowest: one, from the camera at LOWEST_NOISE_SCALE. At least one step is left.
    """
    match latency:
        case "standard":
            return CLEAR, DEFAULT_NOISE_SCALE
        case "low" | "lower":
            count = max(1, len(own) - (1 if latency == "low" else 2))
            places = (floor(index * len(own) / count + 0.5) for index in range(count))
            return tuple(own[place] for place in places), DEFAULT_NOISE_SCALE
        case "lowest":
            return own[:1], LOWEST_NOISE_SCALE


def check_blend(chunks: int, curve: str) -> None:
    """Raises ValueError unless both can be used."""
    if isinstance(chunks, bool) or not isinstance(chunks, int) or not 1 <= chunks <= MAX_BLEND_CHUNKS:
        raise ValueError(f"blend_chunks must be 1 ... {MAX_BLEND_CHUNKS}, got {chunks!r}")
    if curve not in get_args(BlendCurve):
        raise ValueError(f"blend_curve must be {' or '.join(get_args(BlendCurve))}, got {curve!r}")


def _check_one_of(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise ValueError(f"{name} must be {' or '.join(known)}, got {value!r}")


def _check_prompts(prompts: WeightedPrompts) -> None:
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise ValueError(f"prompts must be 1 to {MAX_PROMPTS}, got {len(prompts)}")
    for index, (_, weight) in enumerate(prompts):
        if not (isfinite(weight) and weight >= 0):
            raise ValueError(f"prompts[{index}].weight must be a finite number, 0 or more, got {weight!r}")


def check_strengths(controls: ControlStrengths) -> None:
    """Raises ValueError naming the entry, its value and what was expected."""
    if len(controls) > len(CONTROLS):
        raise ValueError(f"controls must be at most {len(CONTROLS)}, got {len(controls)}")
    seen: set[str] = set()
    for index, (name, strength) in enumerate(controls):
        if name not in CONTROLS:
            raise ValueError(f"controls[{index}] must be one of {', '.join(CONTROLS)}, got {name!r}")
        if name in seen:
            raise ValueError(f"controls[{index}] names {name} again; each control has one strength")
        seen.add(name)
        if not 0 <= strength <= MAX_SCALE:  # False for NaN, too
            raise ValueError(
                f"controls[{index}]: strength of {name} must be 0 ... {MAX_SCALE:g}, got {strength}"
            )


def check_allowed(controls: Sequence[str]) -> None:
    """Raises ValueError unless streams can do with these controls alone."""
    known = [name for name in CONTROLS if name in controls]
    if not known or len(known) != len(controls):
        got = ", ".join(controls) or "none"
        raise ValueError(f"allowed controls must be one or more of {', '.join(CONTROLS)}, got {got}")


def _check_controls(controls: ControlStrengths, guidance_scale: float | None) -> None:
    check_strengths(controls)
    depth = dict(controls).get("depth", guidance_scale)
    if guidance_scale is not None and depth != guidance_scale:
        raise ValueError(
            "guidance_scale is the strength of depth: "
            f"expected one value, got {guidance_scale} and controls with depth at {depth}"
        )


def _check_references(pictures: tuple[np.ndarray, ...]) -> None:
    if not 1 <= len(pictures) <= MAX_REFERENCES:
        raise ValueError(f"references must be 1 to {MAX_REFERENCES} pictures or CLEAR, got {len(pictures)}")
    for index, picture in enumerate(pictures):
        _check_picture(f"references[{index}]", picture)


def _check_picture(name: str, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"{name} must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}")


def _check_mask(mask: np.ndarray) -> None:
    is_plane = mask.ndim == 2 or (mask.ndim == 3 and mask.shape[2] == 3)
    if mask.dtype != np.uint8 or not is_plane or 0 in mask.shape:
        raise ValueError(f"mask must be (H, W) or (H, W, 3) uint8, got {mask.shape} {mask.dtype}")


def _check_steps(steps: tuple[int, ...]) -> None:
    try:
        SamplerConfig(denoising_step_list=steps)
        is_possible = len(steps) <= MAX_STEPS
    except ConfigError:
        is_possible = False
    if not is_possible:
        expected = f"1 to {MAX_STEPS} that fall within {MAX_TIMESTEP} ... 1"
        raise ValueError(f"steps must be {expected}, or CLEAR, got {list(steps)}")
