"""Building blocks of an OpenAPI document."""

from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import BaseModel

from server.answers import Answer

Json: TypeAlias = dict[str, Any]

NO_SESSION = "There is no such session; it may have ended."


def operation(summary: str, responses: Json, body: Json | None = None) -> Json:
    """What one method of a path does; `responses` by status, as text."""
    return {"summary": summary, "responses": responses} | ({"requestBody": body} if body else {})


def parameter(name: str, about: str) -> Json:
    """A part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string"},
    }


def handshake() -> list[Json]:
    """Header fields of a WebSocket's opening (RFC 6455, 4.1)."""
    fields: Json = {
        "Upgrade": {"const": "websocket"},
        "Connection": {"const": "Upgrade"},
        "Sec-WebSocket-Version": {"const": "13"},
        "Sec-WebSocket-Key": {"pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"},
    }
    return [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string", **schema}}
        for name, schema in fields.items()
    ]


def json_of(about: str, model: type[BaseModel]) -> Json:
    """An answer that is this model, encoded."""
    schema = {"$ref": ref(model.__name__)}
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def answer(about: str, type: str) -> Json:
    """An answer of this media type."""
    return {"description": about, "content": {type: {}}}


def text(about: str) -> Json:
    """An answer in plain words."""
    return answer(about, "text/plain")


def binary(about: str, type: str) -> Json:
    """A picture or a film of this media type."""
    return answer(about, type)


def of_a_file(type: str) -> Json:
    """What a request for a file gets, whole or in part."""
    return {
        "200": binary("The file.", type),
        "206": binary("The range asked for.", type),
        "304": {"description": "It is as If-None-Match or If-Modified-Since has it."},
        "412": {"description": "It is not as If-Match or If-Unmodified-Since has it."},
        "416": {"description": "There is no such range."},
    }


def add_answer(responses: Json, answer: Answer) -> None:
    """One more reason for a status, in plain words."""
    told = responses.setdefault(str(answer.status), {"description": ""})
    told["description"] = f"{told['description']} {answer.about}".lstrip()
    if answer.status != HTTPStatus.NO_CONTENT:
        told.setdefault("content", {}).setdefault("text/plain", {})


def ref(model: str) -> str:
    """Where the schema of a model is."""
    return f"#/components/schemas/{model}"
