"""The control protocol (PROTOCOL.md): every message in both directions, decoded and encoded here alone.

Sans-IO. The messages travel on the data channels `control` and `telemetry`; client_web/protocol.js mirrors
them.
"""

from typing import Annotated, Any, Literal, TypeAlias, get_args

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

MAX_MESSAGE_BYTES = 16 * 1024
MAX_MESSAGES_PER_SECOND = 50.0


class ProtocolError(Exception):
    """The peer sent something that is no valid message. The peer's fault: answer it and go on."""

    def __init__(self, field: str, value: object, expected: str, id: str | None = None) -> None:
        self.field = field
        self.value = _excerpt(value)
        self.expected = expected
        self.id = id
        super().__init__(f"{field}: got {self.value}, expected {expected}")


class Message(BaseModel):
    """Base of every message: immutable, strictly typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


# Client to server. A field's description is what an error names as `expected`.


class Request(Message):
    id: str = Field(min_length=1, max_length=64, description="a string of 1 to 64 characters")


class SetPrompt(Request):
    """Paint something else. `recache` keeps the picture's continuity, `cut` starts afresh."""

    type: Literal["prompt.set"] = "prompt.set"
    text: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=1000, description="1 to 1000 characters, not only spaces"
    )
    transition: Literal["recache", "cut"] = Field("recache", description='"recache" or "cut"')


class SetGuidance(Request):
    """How strongly the camera's depth shapes the picture."""

    type: Literal["guidance.set"] = "guidance.set"
    scale: float = Field(ge=0, le=2, description="a number from 0 to 2")


class Reset(Request):
    """Forget every picture so far; the prompt stays."""

    type: Literal["reset"] = "reset"
    seed: int | None = Field(None, ge=0, lt=2**63, description="an integer from 0 to 2^63 - 1")


class GetStats(Request):
    type: Literal["stats"] = "stats"


class Ping(Request):
    """Heartbeat. A peer that has sent one and then falls silent is taken for gone."""

    type: Literal["ping"] = "ping"


Command: TypeAlias = SetPrompt | SetGuidance | Reset
ClientMessage: TypeAlias = Command | GetStats | Ping

# Server to client.


class ModelInfo(Message):
    """Which model paints, as the page and /readyz tell it. `trained` is false for seeded random weights.

    `about` says in a few words what its trained weights are; it may be empty.
    """

    name: str
    trained: bool
    about: str
    width: int
    height: int
    steps: int
    depth: str
    device: str


class Hello(Message):
    type: Literal["hello"] = "hello"
    session: str
    model: ModelInfo
    prompt: str
    guidance_scale: float


ClientState: TypeAlias = Literal["warming", "waiting", "live", "failed"]


class StateChanged(Message):
    type: Literal["state"] = "state"
    state: ClientState
    detail: str


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
    """The first picture shaped by the command has been handed to the encoder."""

    type: Literal["applied"] = "applied"
    id: str
    command: Literal["prompt.set", "guidance.set", "reset"]
    chunk: int
    frame: int
    latency_ms: int


class Superseded(Message):
    """A later command of the same kind replaced this one before it took effect."""

    type: Literal["superseded"] = "superseded"
    id: str
    by: str


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


class Stats(Figures):
    type: Literal["stats"] = "stats"
    id: str
    camera_frames: int
    shown_frames: int
    chunks: int
    uptime_s: float


class Telemetry(Figures):
    """The only message of the lossy channel `telemetry`, about once a second."""

    type: Literal["telemetry"] = "telemetry"


class Pong(Message):
    type: Literal["pong"] = "pong"
    id: str


ServerMessage: TypeAlias = (
    Hello | StateChanged | Ack | ErrorReply | Applied | Superseded | Stats | Telemetry | Pong
)

CLIENT_MESSAGES: dict[str, type[Request]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(ClientMessage)
}
_client_adapter: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
_server_adapter: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")]
)


def decode(raw: str | bytes) -> ClientMessage:
    """One message from a client. Raises ProtocolError naming field, value and what was expected."""
    size = len(raw.encode(errors="surrogatepass")) if isinstance(raw, str) else len(raw)
    if size > MAX_MESSAGE_BYTES:
        raise ProtocolError("message", f"{size} bytes", f"at most {MAX_MESSAGE_BYTES} bytes")
    try:
        data: Any = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError:  # also covers nesting beyond the parser's limit
        raise ProtocolError("message", raw, "a JSON object") from None
    if not isinstance(data, dict):
        raise ProtocolError("message", raw, "a JSON object")
    try:
        return _client_adapter.validate_python(data)
    except ValidationError as error:
        raise _protocol_error(error, data) from None  # pyright: ignore[reportUnknownArgumentType] -- raw input


def decode_server(raw: str | bytes) -> ServerMessage:
    """One message from a server, for clients written in Python. Raises pydantic.ValidationError."""
    return _server_adapter.validate_json(raw)


def encode(message: ClientMessage | ServerMessage) -> str:
    """The JSON text of a message."""
    return message.model_dump_json()


def _protocol_error(error: ValidationError, data: dict[str, Any]) -> ProtocolError:
    """The first thing wrong with `data`, in the words of the field's own description."""
    first = error.errors(include_url=False, include_context=False)[0]
    id = data.get("id")
    id = id if isinstance(id, str) and 1 <= len(id) <= 64 else None
    tag = data.get("type")
    model = CLIENT_MESSAGES.get(tag) if isinstance(tag, str) else None
    if model is None:
        return ProtocolError("type", tag, "one of " + ", ".join(CLIENT_MESSAGES), id)
    field = str(first["loc"][1])
    if field not in model.model_fields:
        return ProtocolError(field, data.get(field), f"no such field in {tag}", id)
    return ProtocolError(field, data.get(field), model.model_fields[field].description or first["msg"], id)


def _excerpt(value: object) -> str:
    """At most 100 characters of a value, for an error message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 100 else text[:99] + "…"
