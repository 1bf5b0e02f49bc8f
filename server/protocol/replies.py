"""Messages of the server to its clients (PROTOCOL.md): one model a message.

Sans-IO. server/protocol/codec.py encodes these; server/protocol/requests.py has the other direction.
"""

from collections.abc import Sequence
from typing import Literal, Self, TypeAlias

from server.protocol.requests import (
    Command,
    DepthPoint,
    GuidanceKey,
    Message,
    Quality,
    SetOutput,
    TimelineStep,
    WeightedPrompt,
)
from streaming.api import BlendCurve, CameraFit, LatencyLevel, Orientation, Side, Transition

ClientState: TypeAlias = Literal["warming", "waiting", "live", "failed"]
CommandName: TypeAlias = Literal[
    "prompt.set",
    "timeline.set",
    "timeline.stop",
    "guidance.set",
    "depth.set",
    "controls.set",
    "references.set",
    "mask.set",
    "region.set",
    "camera_start.set",
    "steps.set",
    "latency.set",
    "shape.set",
    "seed.set",
    "reset",
    "freeze.set",
    "pause",
    "resume",
    "record.start",
    "record.stop",
    "output.set",
]


class ModelInfo(Message):
    """Which model generates, as the page and /readyz tell it. `trained` is false for seeded random weights.

    `about` says in a few words what its trained weights are; it may be empty. `width` and `height` are those
    that the server was started with; `can_turn`: a session may exchange them, see shape.set.
    """

    name: str
    trained: bool
    about: str
    width: int
    height: int
    can_turn: bool
    steps: int
    depth: str
    device: str


class ControlsState(Message):
    """Strengths of the controls beside depth; 0: off."""

    gray: float
    lines: float


class Hello(Message):
    """What the client has joined. A new session's strengths are those that the model begins with."""

    type: Literal["hello"] = "hello"
    session: str
    model: ModelInfo
    prompt: str
    guidance_scale: float
    controls: ControlsState


class StateChanged(Message):
    type: Literal["state"] = "state"
    state: ClientState
    detail: str
    restarts: bool = False  # of `failed`: the server starts again by itself, and takes new sessions then


# Answers to requests.


class Ack(Message):
    """The request was understood. A command takes effect later: see Applied and Superseded."""

    type: Literal["ack"] = "ack"
    id: str


ErrorCode: TypeAlias = Literal["invalid", "rate", "rejected", "reset", "internal"]


class ErrorReply(Message):
    """`id` is null if no request caused it, or none could be read. Unless `state` is failed, all goes on."""

    type: Literal["error"] = "error"
    id: str | None = None
    code: ErrorCode
    field: str | None = None
    value: str | None = None
    expected: str | None = None
    message: str


class Applied(Message):
    """The command has taken effect: the first picture that it shaped has gone out, watched or not.

    Of what shapes no picture (pause, record.stop...), `chunk` and `frame` are those on show; null: none yet.
    """

    type: Literal["applied"] = "applied"
    id: str
    command: CommandName
    chunk: int | None
    frame: int | None
    latency_ms: int


class Superseded(Message):
    """A later command of the same kind replaced this one before it took effect."""

    type: Literal["superseded"] = "superseded"
    id: str
    by: str


class Pong(Message):
    type: Literal["pong"] = "pong"
    id: str


# Every effective value of the session.


class TransitionState(Message):
    """A change of prompt that takes several chunks: `done` of `chunks` have been made."""

    transition: Transition
    done: int
    chunks: int
    curve: BlendCurve


class GuidanceState(Message):
    """As asked for; telemetry has the value in effect. `scale` is null while keyframes set it."""

    scale: float | None
    adaptive: float
    keyframes: tuple[GuidanceKey, ...] | None
    loop: bool


class DepthState(Message):
    enabled: bool
    smoothing: float
    refinement: float
    points: tuple[DepthPoint, ...]


class RegionState(Message):
    """The part of the picture that is generated, by distance: see region.set."""

    distance: float
    side: Side
    softness: float


class CameraStartState(Message):
    """As asked for; telemetry has the noise scale in effect."""

    noise_scale: float
    follows_motion: bool


class ShapeState(Message):
    """Of the pictures as they are made now: `width` and `height` are null until the model is known."""

    orientation: Orientation
    fit: CameraFit
    width: int | None
    height: int | None


class SeedState(Message):
    """`seed` is what the next reset or cut uses, null for a random one; `current` what this picture began
    with."""

    mode: Literal["fixed", "random"]
    seed: int | None
    current: int


class TimelineState(Message):
    """`position` in seconds, when this message was made; `step` is the index of the one in effect."""

    steps: tuple[TimelineStep, ...]
    loop: bool
    duration: float | None
    position: float
    step: int


class OutputState(Message):
    fps: float | None = None
    quality: Quality = "high"

    def changed_by(self, commands: Sequence[Command]) -> Self:
        """After these, of which each output.set changes what it names."""
        changes = dict[str, object]()
        for command in commands:
            match command:
                case SetOutput(fps=fps, quality=quality):
                    changes |= {"fps": fps} if "fps" in command.model_fields_set else {}
                    changes |= {} if quality is None else {"quality": quality}
                case _:
                    pass
        return self.model_copy(update=changes)


class SessionSettings(Message):
    """Everything that commands can change, as it is now. `latency` is null where steps or noise scale are not
    those of one."""

    type: Literal["settings"] = "settings"
    prompts: tuple[WeightedPrompt, ...]
    transition: TransitionState | None
    guidance: GuidanceState
    depth: DepthState
    controls: ControlsState
    references: tuple[str, ...]
    mask: str | None
    region: RegionState | None
    camera_start: CameraStartState
    steps: tuple[int, ...] | None
    latency: LatencyLevel | None
    shape: ShapeState
    seed: SeedState
    frozen: bool
    paused: bool
    recording: bool
    timeline: TimelineState | None
    output: OutputState


class RecordingChanged(Message):
    """`name` is that of GET /sessions/{id}/recordings/{name}, once it has been stopped."""

    type: Literal["recording"] = "recording"
    state: Literal["recording", "stopped", "failed"]
    name: str
    seconds: float
    bytes: int
    detail: str


# Figures.


class Latency(Message):
    """Where the time of a picture goes, smoothed, in milliseconds. None: not measured yet."""

    collect: float | None = None
    depth: float | None = None
    encode: float | None = None
    generate: float | None = None
    decode: float | None = None
    pace: float | None = None
    total: float | None = None


class Dropped(Message):
    """Pictures dropped since the session began, by place: a late picture is worth nothing."""

    camera: int = 0
    pacing: int = 0
    stale: int = 0


class Figures(Message):
    """How the stream is doing. `chunk` is the one being shown, null before the first."""

    fps: float
    chunk: int | None
    latency_ms: Latency
    dropped: Dropped
    state: ClientState
    # In effect, motion counted in; null before the first chunk.
    guidance_scale: float | None = None
    noise_scale: float | None = None


class Stats(Figures):
    type: Literal["stats"] = "stats"
    id: str
    camera_frames: int
    shown_frames: int
    chunks: int
    uptime_s: float


class Telemetry(Figures):
    """The only message of the lossy channel `telemetry`, about twice a second.

    Each preview is a data: URL of a small grey JPEG, what the model was given last, and null while that
    control is off. Of depth near is bright.
    """

    type: Literal["telemetry"] = "telemetry"
    depth_preview: str | None = None
    gray_preview: str | None = None
    lines_preview: str | None = None
    timeline_position: float | None = None


ServerMessage: TypeAlias = (
    Hello
    | StateChanged
    | Ack
    | ErrorReply
    | Applied
    | Superseded
    | SessionSettings
    | RecordingChanged
    | Stats
    | Telemetry
    | Pong
)
