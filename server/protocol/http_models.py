"""Bodies of HTTP answers that are no protocol messages. openapi.json is made from these and the messages."""

from pydantic import BaseModel, Field, SecretStr

from server.protocol.replies import (
    CameraStartState,
    ClientState,
    ControlsState,
    DepthState,
    ErrorReply,
    Figures,
    GuidanceState,
    ModelInfo,
    OutputState,
    ServerMessage,
    SessionSettings,
)
from server.protocol.requests import Message
from streaming.api import BlendCurve, LatencyLevel, Transition


def _is_none(value: object) -> bool:
    return value is None


class Login(BaseModel):
    """The token that a page wants a cookie for."""

    token: SecretStr = Field(min_length=1, max_length=4096)


class LookInfo(Message):
    """A prompt that the model follows well. `thumbnail` is relative to the page, or null."""

    name: str
    prompt: str
    thumbnail: str | None


class IceServerInfo(Message):
    """As RTCPeerConnection takes it: it would read a null as text, so what there is not is left out."""

    urls: tuple[str, ...]
    username: str | None = Field(None, exclude_if=_is_none)
    credential: str | None = Field(None, exclude_if=_is_none)


class Limits(Message):
    """The largest values that commands may carry. A client need not keep copies of its own."""

    prompt_length: int = Field(description="characters of a prompt")
    prompts: int = Field(description="prompts mixed in one prompt.set or step of a timeline")
    prompt_weight: float
    blend_chunks: int = Field(description="chunks that a blend takes")
    timeline_steps: int
    timeline_seconds: float = Field(description="`duration` of a timeline, and `at` of its steps")
    guidance_scale: float = Field(description="strength of the guidance; the least is 0")
    guidance_keyframes: int
    control_strength: float = Field(description="of gray, and of lines; the least is 0")
    depth_points: int
    references: int = Field(description="reference pictures")
    steps: int = Field(description="denoising steps, counted")
    timestep: int = Field(description="the first denoising step")
    fps: float


class Defaults(Message):
    """Of a prompt.set that leaves them out: transition, chunks, curve. The rest is as a session begins, which
    the model has a say in once it is loaded."""

    transition: Transition
    chunks: int
    curve: BlendCurve
    guidance: GuidanceState
    depth: DepthState
    controls: ControlsState
    camera_start: CameraStartState
    latency: LatencyLevel
    output: OutputState


class ServerInfo(Message):
    """What a client needs before it connects. `model` is null, and `looks` empty, while loading."""

    ready: bool
    reason: str = Field(description="how loading stands, or why it failed, in plain words")
    model: ModelInfo | None
    looks: tuple[LookInfo, ...]
    default_prompt: str
    max_fps: float = Field(
        description="pictures a second that are generated at most: a camera need give no more"
    )
    max_sessions: int
    sessions: int
    ice_servers: tuple[IceServerInfo, ...]
    limits: Limits
    defaults: Defaults


class Ready(Message):
    ready: bool = True
    model: ModelInfo | None


class NotReady(Message):
    ready: bool = False
    reason: str


class Replies(Message):
    """The immediate answers to one message: an ack and what it superseded, or stats, or a pong."""

    replies: tuple[ServerMessage, ...]


class SetupErrors(Message):
    """All that is wrong with a set-up, of which nothing was taken; the first twenty."""

    errors: tuple[ErrorReply, ...]


class SessionFigures(Figures):
    """How the stream is doing, and counts since the session began."""

    camera_frames: int
    shown_frames: int
    chunks: int
    uptime_s: float


class SessionView(Message):
    """How a session stands: its state in plain words, every setting, every figure."""

    id: str
    state: ClientState
    detail: str
    settings: SessionSettings
    figures: SessionFigures


class UploadedImage(Message):
    """`id` goes into references.set, mask.set, a reset or a cut; width and height are those that are kept."""

    id: str
    width: int
    height: int
