"""Building blocks of an OpenAPI document."""

from typing import Any, TypeAlias

from pydantic import BaseModel

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


def ref(model: str) -> str:
    """Where the schema of a model is."""
    return f"#/components/schemas/{model}"
