"""Messages of a client to the server (PROTOCOL.md): one model a message. Errors quote a field's description.

Sans-IO. server/protocol/codec.py decodes these; server/protocol/replies.py has the other direction.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from streaming.api import (
    DEFAULT_ADAPTIVE,
    DEFAULT_BLEND_CHUNKS,
    DEFAULT_BLEND_CURVE,
    DEFAULT_SIDE,
    DEFAULT_SOFTNESS,
    DEFAULT_TRANSITION,
    MAX_BLEND_CHUNKS,
    MAX_POINTS,
    MAX_PROMPT_LENGTH,
    MAX_PROMPTS,
    MAX_REFERENCES,
    MAX_SCALE,
    MAX_SEED,
    MAX_STEPS,
    MAX_TIMESTEP,
    BlendCurve,
    CameraFit,
    LatencyLevel,
    Orientation,
    Side,
    Transition,
)

LONGEST_S = 86_400.0  # of a timeline or a row of keyframes: a day
MAX_TIMELINE_STEPS = 64
MAX_KEYFRAMES = 64

Quality: TypeAlias = Literal["low", "medium", "high"]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=LONGEST_S)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
ImageId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
SECONDS = f"seconds, a number from 0 to {LONGEST_S:.0f}"
TEXT = f"1 to {MAX_PROMPT_LENGTH} characters, not only spaces"
SCALE = f"a number from 0 to {MAX_SCALE:g}"
RISING_STEPS = f"a list of 1 to {MAX_TIMELINE_STEPS} steps, `at` rising from 0"
RISING_KEYFRAMES = f"a list of 1 to {MAX_KEYFRAMES} keyframes, `at` rising"
FALLING_STEPS = f"a list of 1 to {MAX_STEPS} falling integers from 1 to {MAX_TIMESTEP}, or null"
SEED = "an integer from 0 to 2^63 - 1"
FIRST_PICTURE = "the id of an uploaded picture, or null"


class Message(BaseModel):
    """Base of every message and part of one: immutable, strictly typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def broken_rule(field: str, expected: str) -> PydanticCustomError:
    """What a validator raises for a rule between fields: the error will name `field` and `expected`."""
    return PydanticCustomError("rule", "{expected}", {"field": field, "expected": expected})


class Request(Message):
    id: str = Field(min_length=1, max_length=64, description="a string of 1 to 64 characters")


class CommandRequest(Request):
    """Base of every command, with all that the way to the picture differs by."""

    group: ClassVar[str] = ""  # commands that undo each other are of one; without, each type is of its own
    shapes_frames: ClassVar[bool] = False  # which camera frames a chunk is made of, not what is made of them
    may_be_refused: ClassVar[bool] = True  # by the model; False: that is not asked for it

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        """Uploaded pictures that it speaks of: where it names each, and its id."""
        return ()

    def replacing(self, older: Request) -> Self:
        """As it stands for both, where `older` of the same kind still waits."""
        return self


class PatchRequest(CommandRequest):
    """Base of commands that change what is given and leave the rest. A field that is None was not given."""

    @property
    def given(self) -> dict[str, object]:
        """The values to change, by field."""
        names = set(type(self).model_fields) - {"type", "id"}
        return {name: value for name, value in self if name in names and value is not None}

    def replacing(self, older: Request) -> Self:
        """With what only the older one has set."""
        if type(older) is not type(self):
            return self
        return self.model_copy(update={name: value for name, value in older if getattr(self, name) is None})


# Which prompt.


class WeightedPrompt(Message):
    """One of several prompts. Only the ratio of the weights counts."""

    text: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=MAX_PROMPT_LENGTH, description=TEXT
    )
    weight: float = Field(1.0, gt=0, le=10, description="a number above 0, at most 10")


class PromptChange(Message):
    """The next prompts and how the picture gets there, in a prompt.set and in every step of a timeline."""

    text: Annotated[str, StringConstraints(strip_whitespace=True)] | None = Field(
        None, min_length=1, max_length=MAX_PROMPT_LENGTH, description=TEXT
    )
    prompts: tuple[WeightedPrompt, ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PROMPTS,
        description=f"a list of 1 to {MAX_PROMPTS} objects with text and weight",
    )
    transition: Transition = Field(DEFAULT_TRANSITION, description='"recache", "cut" or "blend"')
    chunks: int = Field(
        DEFAULT_BLEND_CHUNKS,
        ge=1,
        le=MAX_BLEND_CHUNKS,
        description=f"an integer from 1 to {MAX_BLEND_CHUNKS}",
    )
    curve: BlendCurve = Field(DEFAULT_BLEND_CURVE, description='"linear" or "slerp"')

    @model_validator(mode="after")
    def _says_what_once(self) -> Self:
        if self.text is None and self.prompts is None:
            raise broken_rule("text", f"{TEXT}; or prompts instead")
        if self.text is not None and self.prompts is not None:
            raise broken_rule("prompts", "either text or prompts, not both")
        return self

    @property
    def weighted(self) -> tuple[WeightedPrompt, ...]:
        """All prompts, whichever way they were given."""
        return self.prompts or (WeightedPrompt(text=self.text or "", weight=1.0),)


class SetPrompt(CommandRequest, PromptChange):
    """Change the prompt: `recache` goes on from the picture, `cut` starts afresh, `blend` takes chunks."""

    type: Literal["prompt.set"] = "prompt.set"
    picture: ImageId | None = Field(None, description=f"{FIRST_PICTURE}; only with a cut")

    @model_validator(mode="after")
    def _begins_with_a_picture(self) -> Self:
        if self.picture is not None and self.transition != "cut":
            raise broken_rule("picture", 'none, unless transition is "cut"')
        return self

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        return [] if self.picture is None else [("picture", self.picture)]


class TimelineStep(PromptChange):
    """At `at` seconds since the timeline began, what a prompt.set would do."""

    at: Seconds = Field(description=SECONDS)


class SetTimeline(CommandRequest):
    """Prompts by time, beginning with the next chunk."""

    group = "timeline"
    type: Literal["timeline.set"] = "timeline.set"
    steps: tuple[TimelineStep, ...] = Field(
        min_length=1, max_length=MAX_TIMELINE_STEPS, description=RISING_STEPS
    )
    loop: bool = Field(False, description="true or false")
    duration: Seconds | None = Field(None, description=f"{SECONDS}, more than the last step's `at`")

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.steps[0].at != 0 or not _rises([step.at for step in self.steps]):
            raise broken_rule("steps", RISING_STEPS)
        if self.loop and self.duration is None:
            raise broken_rule("duration", "seconds, more than the last step's `at`: needed to loop")
        if self.duration is not None and self.duration <= self.steps[-1].at:
            raise broken_rule("duration", f"more than the last step's `at`, {self.steps[-1].at:g}")
        return self


class StopTimeline(CommandRequest):
    """Stay with the prompt of the moment."""

    group = "timeline"
    may_be_refused = False
    type: Literal["timeline.stop"] = "timeline.stop"


# What guides it.


class GuidanceKey(Message):
    """The strength at one moment, counted from when the keyframes were applied."""

    at: Seconds = Field(description=SECONDS)
    scale: float = Field(ge=0, le=MAX_SCALE, description=SCALE)


class SetGuidance(CommandRequest):
    """How strongly the camera's depth shapes the picture: all of it at once, what is left out is off."""

    type: Literal["guidance.set"] = "guidance.set"
    scale: float | None = Field(None, ge=0, le=MAX_SCALE, description=SCALE)
    adaptive: Share = Field(DEFAULT_ADAPTIVE, description="a number from 0 to 1")
    keyframes: tuple[GuidanceKey, ...] | None = Field(
        None, min_length=1, max_length=MAX_KEYFRAMES, description=RISING_KEYFRAMES
    )
    loop: bool = Field(False, description="true or false")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.keyframes is None:
            if self.scale is None:
                raise broken_rule("scale", f"{SCALE}; or keyframes instead")
            return self
        if self.scale is not None:
            raise broken_rule("scale", "either scale or keyframes, not both")
        if not _rises([key.at for key in self.keyframes]):
            raise broken_rule("keyframes", RISING_KEYFRAMES)
        if self.loop and self.keyframes[-1].at == 0:
            raise broken_rule("keyframes", "a last `at` above 0: needed to loop")
        return self


class DepthPoint(Message):
    """A known depth: `x` from the left, `y` from the top, as shares of the picture; `value` 1 is near."""

    x: Share = Field(description="a number from 0 to 1")
    y: Share = Field(description="a number from 0 to 1")
    value: Share = Field(description="a number from 0 to 1")


class SetDepth(PatchRequest):
    """Change what is given, leave the rest. Points replace the camera's depth; none: back to the camera."""

    type: Literal["depth.set"] = "depth.set"
    enabled: bool | None = Field(None, description="true or false")
    smoothing: Share | None = Field(None, description="a number from 0 to 1")
    refinement: Share | None = Field(None, description="a number from 0 to 1")
    points: tuple[DepthPoint, ...] | None = Field(
        None, max_length=MAX_POINTS, description=f"a list of 0 to {MAX_POINTS} objects with x, y and value"
    )


class SetControls(PatchRequest):
    """How strongly the camera's gray and its lines shape the picture, 0: not at all. Change what is given,
    leave the rest. Depth's strength is the scale of a guidance.set."""

    type: Literal["controls.set"] = "controls.set"
    gray: float | None = Field(None, ge=0, le=MAX_SCALE, description=SCALE)
    lines: float | None = Field(None, ge=0, le=MAX_SCALE, description=SCALE)


class SetReferences(CommandRequest):
    """Pictures, uploaded before, that the result should resemble; an empty list clears them."""

    type: Literal["references.set"] = "references.set"
    images: tuple[ImageId, ...] = Field(
        max_length=MAX_REFERENCES, description=f"a list of 0 to {MAX_REFERENCES} ids of uploaded pictures"
    )

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        return [(f"images[{index}]", id) for index, id in enumerate(self.images)]


class SetMask(CommandRequest):
    """Where to generate: bright in the uploaded picture; dark keeps the camera. Null: everywhere."""

    type: Literal["mask.set"] = "mask.set"
    image: ImageId | None = Field(description="the id of an uploaded picture, or null")

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        return [] if self.image is None else [("image", self.image)]


class SetRegion(CommandRequest):
    """Where to generate, by distance: what is nearer than `distance`, or farther; elsewhere is the camera.
    Beside the mask: generated is what lies in both. All of it at once. A null distance: everywhere."""

    type: Literal["region.set"] = "region.set"
    distance: Share | None = Field(description="a number from 0, far, to 1, near; or null")
    side: Side = Field(DEFAULT_SIDE, description='"near" or "far"')
    softness: Share = Field(DEFAULT_SOFTNESS, description="a number from 0 to 1")


class SetCameraStart(PatchRequest):
    """How far each chunk starts from the camera's picture: a `noise_scale` of 1 is noise alone, less keeps
    more of the camera. Change what is given, leave the rest."""

    type: Literal["camera_start.set"] = "camera_start.set"
    noise_scale: float | None = Field(None, gt=0, le=1, description="a number above 0, at most 1")
    follows_motion: bool | None = Field(None, description="true or false")


# How it is made.


class SetSteps(CommandRequest):
    """The timesteps of denoising; fewer are quicker and coarser. Null: the model's own."""

    type: Literal["steps.set"] = "steps.set"
    steps: tuple[Annotated[int, Field(ge=1, le=MAX_TIMESTEP)], ...] | None = Field(
        min_length=1, max_length=MAX_STEPS, description=FALLING_STEPS
    )

    @model_validator(mode="after")
    def _fall(self) -> Self:
        if self.steps is not None and not _rises(self.steps[::-1]):
            raise broken_rule("steps", FALLING_STEPS)
        return self


class SetLatency(CommandRequest):
    """Steps and noise scale by one choice; what steps.set and camera_start.set say later changes them."""

    type: Literal["latency.set"] = "latency.set"
    level: LatencyLevel = Field(description='"standard", "low", "lower" or "lowest"')


class SetShape(PatchRequest):
    """The picture's shape: another orientation begins the stream anew, as a reset does. `fit`: a camera of
    another aspect is cropped to fill the picture, or shown whole between bars. Change what is given, leave
    the rest."""

    type: Literal["shape.set"] = "shape.set"
    orientation: Orientation | None = Field(None, description='"wide" or "upright"')
    fit: CameraFit | None = Field(None, description='"fill" or "fit"')


class SetSeed(CommandRequest):
    """Which noise the next reset or cut begins with."""

    may_be_refused = False
    type: Literal["seed.set"] = "seed.set"
    mode: Literal["fixed", "random"] = Field(description='"fixed" or "random"')
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description=SEED)

    @model_validator(mode="after")
    def _random_has_none(self) -> Self:
        if self.mode == "random" and self.seed is not None:
            raise broken_rule("seed", 'none, unless mode is "fixed"')
        return self


class Reset(CommandRequest):
    """Forget every picture so far; the prompt stays. `picture` is the first one of the new stream."""

    type: Literal["reset"] = "reset"
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description=SEED)
    picture: ImageId | None = Field(None, description=FIRST_PICTURE)

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        return [] if self.picture is None else [("picture", self.picture)]


# The stream.


class SetFreeze(CommandRequest):
    """Hold the camera's picture of this moment; the model goes on with it."""

    shapes_frames = True
    may_be_refused = False
    type: Literal["freeze.set"] = "freeze.set"
    on: bool = Field(description="true or false")


class Pause(CommandRequest):
    """Stop generating; the last picture stays."""

    group = "play"
    shapes_frames = True
    may_be_refused = False
    type: Literal["pause"] = "pause"


class Resume(CommandRequest):
    group = "play"
    shapes_frames = True
    may_be_refused = False
    type: Literal["resume"] = "resume"


class StartRecording(CommandRequest):
    """Record what is shown, with the camera beside it if asked to."""

    group = "record"
    type: Literal["record.start"] = "record.start"
    side_by_side: bool = Field(False, description="true or false")


class StopRecording(CommandRequest):
    group = "record"
    type: Literal["record.stop"] = "record.stop"


class SetOutput(CommandRequest):
    """Change what is given and leave the rest. `fps` null: as many as the model can."""

    type: Literal["output.set"] = "output.set"
    fps: float | None = Field(None, ge=1, le=60, description="a number from 1 to 60, or null")
    quality: Quality | None = Field(None, description='"low", "medium" or "high"')


class GetStats(Request):
    type: Literal["stats"] = "stats"


class Ping(Request):
    """Heartbeat. A peer that has sent one and then falls silent is taken for gone."""

    type: Literal["ping"] = "ping"


PictureCommand: TypeAlias = (
    SetPrompt
    | SetTimeline
    | StopTimeline
    | SetGuidance
    | SetDepth
    | SetControls
    | SetReferences
    | SetMask
    | SetRegion
    | SetCameraStart
    | SetSteps
    | SetLatency
    | SetShape
    | SetSeed
    | Reset
    | SetFreeze
)
StreamCommand: TypeAlias = Pause | Resume | StartRecording | StopRecording | SetOutput
Command: TypeAlias = PictureCommand | StreamCommand
ClientMessage: TypeAlias = Command | GetStats | Ping


def _rises(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))
