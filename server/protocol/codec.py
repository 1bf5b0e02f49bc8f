"""Codec of the control protocol (PROTOCOL.md): text to messages and back, in both directions.

Sans-IO. The messages travel on data channels, WebSockets and HTTP; client_web/protocol.js mirrors them. Their
models are in server/protocol/requests.py and server/protocol/replies.py.
"""

import codecs
import json
from collections.abc import Sequence
from typing import Annotated, Any, get_args

import pydantic_core
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from server.protocol.replies import ServerMessage
from server.protocol.requests import ClientMessage, Request

MAX_MESSAGE_BYTES = 32 * 1024
MAX_MESSAGES_PER_SECOND = 50.0


class ProtocolError(Exception):
    """The peer sent something that is no valid message. The peer's fault: answer it and go on."""

    def __init__(self, field: str, value: object, expected: str, id: str | None = None) -> None:
        self.field = field
        self.value = _excerpt(value)
        self.expected = expected
        self.id = id
        super().__init__(f"{field}: got {self.value}, expected {expected}")


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
    raw = without_mark(raw)
    try:
        data: Any = pydantic_core.from_json(raw, allow_inf_nan=False)
    except (ValueError, TypeError):  # nested beyond the parser's limit, too; TypeError: half a character
        raise ProtocolError("message", raw, "a JSON object") from None
    if not isinstance(data, dict):
        raise ProtocolError("message", raw, "a JSON object")
    try:
        return _client_adapter.validate_json(raw)
    except ValidationError as error:
        raise _protocol_error(error, data) from None  # pyright: ignore[reportUnknownArgumentType] -- raw input


def decode_server(raw: str | bytes) -> ServerMessage:
    """One message from a server, for clients written in Python. Raises pydantic.ValidationError."""
    return _server_adapter.validate_json(without_mark(raw))


def encode(message: ClientMessage | ServerMessage) -> str:
    """The JSON text of a message; of a request, what was given alone, as null and absent may differ."""
    if isinstance(message, Request):
        given = message.model_dump(mode="json", exclude_unset=True)
        return json.dumps({"type": message.type} | given, ensure_ascii=False)
    return message.model_dump_json()


def without_mark(raw: str | bytes) -> str | bytes:
    """Without the byte order mark that some tools put in front of UTF-8, and that JSON does not have."""
    return raw.removeprefix("\ufeff") if isinstance(raw, str) else raw.removeprefix(codecs.BOM_UTF8)


def _protocol_error(error: ValidationError, data: dict[str, Any]) -> ProtocolError:
    """The first thing wrong with `data`, in the words of the field's own description."""
    first = error.errors(include_url=False)[0]
    id = data.get("id")
    id = id if isinstance(id, str) and 1 <= len(id) <= 64 else None
    tag = data.get("type")
    model = CLIENT_MESSAGES.get(tag) if isinstance(tag, str) else None
    if model is None:
        return ProtocolError("type", tag, "one of " + ", ".join(CLIENT_MESSAGES), id)
    return error_at(first["loc"][1:], first, data, model, f"no such field in {tag}", id)


def error_at(
    path: tuple[str | int, ...],
    detail: ErrorDetails,
    data: Any,
    model: type[BaseModel],
    unknown: str,
    id: str | None = None,
) -> ProtocolError:
    """One thing wrong at `path` of `data`, which was to be a `model`. `unknown`: what to say of a field that
    there is not."""
    if detail["type"] == "rule":  # between fields: see requests.broken_rule
        context = detail.get("ctx", {})
        path = (*path, context["field"])
        return ProtocolError(_name(path), _value_at(path, data), context["expected"], id)
    expected = _expected(path, model) or detail["msg"]
    if detail["type"] == "extra_forbidden":
        expected = unknown
    return ProtocolError(_name(path), _value_at(path, data), expected, id)


def _name(path: Sequence[str | int]) -> str:
    """("prompts", 0, "weight") -> "prompts[0].weight"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _value_at(path: Sequence[str | int], data: Any) -> object:
    """What stands at `path`; None where nothing does."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- raw input
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):  # pyright: ignore[reportUnknownArgumentType] -- raw input
            data = data[part]  # pyright: ignore[reportUnknownVariableType] -- raw input
        else:
            return None
    return data  # pyright: ignore[reportUnknownVariableType] -- raw input


def _expected(path: Sequence[str | int], model: type[BaseModel]) -> str | None:
    """The description of the innermost described field on the way along `path`."""
    expected: str | None = None
    for part in path:
        if isinstance(part, str) and (field := model.model_fields.get(part)) is not None:
            expected = field.description or expected
            model = _model_within(field.annotation) or model
    return expected


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_within(part))), None)


def _excerpt(value: object) -> str:
    """At most 100 characters of a value, as JSON has it, for an error message; texts without quotes."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:99] + "…"
