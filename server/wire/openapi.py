"""openapi.json: the HTTP side of the server, made from the models that encode and decode it."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.media.images import IMAGE_TYPES, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from server.wire.http_models import NotReady, Ready, Replies, ServerInfo, SessionView, UploadedImage
from server.wire.protocol import CLIENT_MESSAGES, MAX_MESSAGE_BYTES, MAX_MESSAGES_PER_SECOND
from server.wire.replies import ErrorReply

Json: TypeAlias = dict[str, Any]

COMMAND = "Command"  # any one message of a client
ANSWERS: tuple[type[BaseModel], ...] = (
    *(ServerInfo, Ready, NotReady, Replies, SessionView, UploadedImage, ErrorReply),
)
ABOUT = """
Connect with WHIP (RFC 9725): POST an SDP offer that sends video; the last part of the answer's Location is
the session's id. Whoever knows it may control the session, by the messages below: over the data channel
`control`, over a WebSocket, or one at a time over HTTP. PROTOCOL.md tells what they do and when.
"""
NO_SESSION = "There is no such session; it may have ended."


def document() -> Json:
    """The OpenAPI 3.1 document, ready to be encoded as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "depthlive", "version": _version(), "description": ABOUT.strip()},
        "paths": {
            **_server_paths(),
            **_whip_paths(),
            **_media_socket_paths(),
            **_session_paths(),
            **_whep_paths(),
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> Json:
    """Every model, those of messages as they are sent. `Command` is any message of a client, by its type."""
    models = [(model, "validation") for model in CLIENT_MESSAGES.values()]
    models += [(model, "serialization") for model in ANSWERS]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # pyright: ignore[reportArgumentType] -- a list of pairs
    for model in CLIENT_MESSAGES.values():  # has a default for Python's sake, but must be sent
        schema = definitions["$defs"][model.__name__]
        schema["required"] = ["type", *schema["required"]]
    mapping = {name: _ref(model.__name__) for name, model in CLIENT_MESSAGES.items()}
    command = {
        "description": "One message of a client.",
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    return {**definitions["$defs"], COMMAND: command}


def _server_paths() -> Json:
    return {
        "/healthz": {"get": _operation("The process answers.", {"200": _text("ok")})},
        "/readyz": {
            "get": _operation(
                "Whether the model is warm.",
                {"200": _json("It is.", Ready), "503": _json("It is not, for this reason.", NotReady)},
            )
        },
        "/metrics": {"get": _operation("Figures for Prometheus.", {"200": _text("Prometheus text.")})},
        "/api/info": {
            "get": _operation(
                "What a client needs before it connects.", {"200": _json("This server.", ServerInfo)}
            )
        },
        "/looks/{name}": {
            "parameters": [_parameter("name", "of a look's picture, as /api/info has it")],
            "get": _operation(
                "The picture of a look.",
                {"200": _binary("The picture.", "image/webp"), "404": _text("There is none.")},
            ),
        },
        "/openapi.json": {
            "get": _operation("This document.", {"200": _answer("OpenAPI 3.1.", "application/json")})
        },
    }


def _whip_paths() -> Json:
    offer = {
        "required": True,
        "description": "An offer with all its candidates and one video track, sendrecv or sendonly.",
        "content": {"application/sdp": {"schema": {"type": "string"}}},
    }
    created = _answer("The answer.", "application/sdp") | {
        "headers": {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in {
                "Location": "the session: /whip/{id}",
                "ETag": "of the session's ICE",
                "Link": "an ICE server each",
            }.items()
        }
    }
    return {
        "/whip": {
            "parameters": [_former(), _ticket()],
            "post": _operation(
                "Begin a session (WHIP).",
                {
                    "201": created,
                    "400": _text("The offer cannot be used."),
                    "404": _text("The session to go on with is gone: begin a new one."),
                    "413": _text("It is larger than 64 KiB."),
                    "415": _text("It is not application/sdp."),
                    "503": _text("No place is free (then with Retry-After), or no model."),
                },
                offer,
            ),
            "delete": _operation(
                "Leave the line before a full server: the ticket is given back.",
                {
                    "200": _text("Whoever is behind moves up."),
                    "400": _text("This is no ticket."),
                    "404": _text("Nobody waits with it."),
                },
            ),
            "options": _operation("What may be posted, and ICE servers.", {"200": _text("In the headers.")}),
        },
        "/whip/{id}": {
            "parameters": [_parameter("id", "of the session")],
            "delete": _operation(
                "End a session.", {"200": _text("All it held is free."), "404": _text(NO_SESSION)}
            ),
            "patch": _trickle(NO_SESSION, "use /whip?session="),
            "options": _operation("What may be done to it.", {"200": _text("In the headers.")}),
        },
    }


def _trickle(missing: str, restart_instead: str) -> Json:
    return _operation(
        "Trickled ICE candidates (application/trickle-ice-sdpfrag).",
        {
            "204": {"description": "They are taken."},
            "400": _text("The fragment cannot be used."),
            "404": _text(missing),
            "412": _text("If-Match names another ICE session."),
            "413": _text("It is larger than 64 KiB."),
            "415": _text("Another type."),
            "422": _text(f"An ICE restart, which is not supported: {restart_instead}."),
            "428": _text("If-Match is missing."),
        },
    )


def _media_socket_paths() -> Json:
    return {
        "/ws": {
            "parameters": [_former(), _ticket()],
            "get": _operation(
                "Begin a session whose pictures go through this WebSocket too.",
                {
                    "101": {"description": "It is open; closed again with 4404, 4500 or 4503 if refused."},
                    "400": _text("This is no WebSocket handshake."),
                    "403": _text("The page that asks is of a site that is not in allowed_origins."),
                },
            ),
        }
    }


def _former() -> Json:
    return {
        "name": "session",
        "in": "query",
        "description": "the id of a session whose connection was lost, to go on with it",
        "schema": {"type": "string"},
    }


def _whep_paths() -> Json:
    id = _parameter("id", "of the session to watch: the last part of its publisher's Location")
    headers = {
        "Location": "the viewer: /sessions/{id}/whep/{viewer}",
        "ETag": "of the viewer's ICE",
        "Link": "an ICE server each",
    }
    created = _answer("The answer.", "application/sdp") | {
        "headers": {
            name: {"description": about, "schema": {"type": "string"}} for name, about in headers.items()
        }
    }
    offer = {
        "required": True,
        "description": "An offer with one video track, recvonly. Audio may be offered and is not sent.",
        "content": {"application/sdp": {"schema": {"type": "string"}}},
    }
    return {
        "/sessions/{id}/whep": {
            "parameters": [id],
            "post": _operation(
                "Watch a session (WHEP).",
                {
                    "201": created,
                    "400": _text("The offer cannot be used."),
                    "404": _text(NO_SESSION),
                    "413": _text("It is larger than 64 KiB."),
                    "415": _text("It is not application/sdp."),
                    "503": _text("As many watch it as may: with Retry-After."),
                },
                offer,
            ),
            "options": _operation("What may be posted, and ICE servers.", {"200": _text("In the headers.")}),
        },
        "/sessions/{id}/whep/{viewer}": {
            "parameters": [id, _parameter("viewer", "the last part of the viewer's Location")],
            "delete": _operation(
                "Stop watching.",
                {"200": _text("The connection is closed."), "404": _text("There is no such viewer.")},
            ),
            "patch": _trickle("There is no such viewer.", "post a new offer"),
            "options": _operation("What may be done to it.", {"200": _text("In the headers.")}),
        },
    }


def _ticket() -> Json:
    return {
        "name": "ticket",
        "in": "query",
        "description": "of the client's own making; asking again with it keeps the place in line",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"},
    }


def _session_paths() -> Json:
    id = _parameter("id", "of the session: the last part of Location")
    missing = {"404": _text(NO_SESSION)}
    return {
        "/sessions/{id}": {
            "parameters": [id],
            "get": _operation(
                "State, settings and figures.", {"200": _json("How it stands.", SessionView), **missing}
            ),
        },
        "/sessions/{id}/commands": {
            "parameters": [id],
            "post": _operation(
                "Send one message.",
                {
                    "200": _json("Its immediate answers.", Replies),
                    "400": _json("It is not valid, or is refused.", ErrorReply),
                    **missing,
                    "413": _text(f"It is larger than {MAX_MESSAGE_BYTES} bytes."),
                    "429": _json(
                        f"The session gets more than {MAX_MESSAGES_PER_SECOND:.0f} a second.", ErrorReply
                    ),
                },
                {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": _ref(COMMAND)}}},
                },
            ),
        },
        "/sessions/{id}/ws": {
            "parameters": [id],
            "get": _operation(
                "A WebSocket on which messages go both ways, one each.",
                {
                    "101": {"description": "It is open: hello, state and settings follow."},
                    "400": _text("This is no WebSocket handshake."),
                    "403": _text("The page that asks is of a site that is not in allowed_origins."),
                    **missing,
                    "503": _text("Too many clients control this session."),
                },
            ),
        },
        "/sessions/{id}/images": {
            "parameters": [id],
            "post": _operation(
                "Upload a picture for references.set or mask.set.",
                {
                    "201": _json("It is kept, as one of the newest 16.", UploadedImage),
                    "400": _text("It cannot be decoded, or its size is out of bounds."),
                    **missing,
                    "413": _text(f"It is larger than {MAX_IMAGE_BYTES} bytes."),
                    "415": _text("Another type."),
                    "429": _text("More than two a second."),
                },
                {
                    "required": True,
                    "description": f"At most {MAX_IMAGE_PIXELS / 1e6:.0f} megapixels.",
                    "content": {name: {} for name in IMAGE_TYPES},
                },
            ),
        },
        "/sessions/{id}/snapshot": {
            "parameters": [id],
            "get": _operation(
                "The generated picture on show, what made it in its text chunks.",
                {
                    "200": _binary("The picture.", "image/png"),
                    **missing,
                    "409": _text("There is none yet."),
                    "429": _text("More than four a second."),
                },
            ),
        },
        "/sessions/{id}/recordings/{name}": {
            "parameters": [id, _parameter("name", "of the recording, as its message has it")],
            "get": _operation(
                "A finished recording, also of a session that has ended.",
                {
                    "200": _binary("The file.", "video/mp4"),
                    "206": _binary("The range asked for.", "video/mp4"),
                    "404": _text("There is none, it is not finished, or it has given way to newer ones."),
                    "416": _text("There is no such range."),
                },
            ),
        },
    }


def _operation(summary: str, responses: Json, body: Json | None = None) -> Json:
    return {"summary": summary, "responses": responses} | ({"requestBody": body} if body else {})


def _parameter(name: str, about: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string"},
    }


def _json(about: str, model: type[BaseModel]) -> Json:
    schema = {"$ref": _ref(model.__name__)}
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _answer(about: str, type: str) -> Json:
    return {"description": about, "content": {type: {}}}


def _text(about: str) -> Json:
    return _answer(about, "text/plain")


def _binary(about: str, type: str) -> Json:
    return _answer(about, type)


def _ref(model: str) -> str:
    return f"#/components/schemas/{model}"


def _version() -> str:
    try:
        return version("depthlive")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
