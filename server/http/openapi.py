"""OpenAPI document of the HTTP side of the server, made from the models that encode and decode it."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.answers import Operation, answers_of
from server.http.openapi_media import media_socket_paths, whep_paths, whip_paths
from server.http.openapi_parts import (
    NO_SESSION,
    Json,
    add_answer,
    answer,
    binary,
    handshake,
    json_of,
    of_a_file,
    operation,
    parameter,
    ref,
    text,
)
from server.media.images import IMAGE_TYPES, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from server.protocol.codec import CLIENT_MESSAGES, MAX_MESSAGE_BYTES, MAX_MESSAGES_PER_SECOND
from server.protocol.http_models import (
    Login,
    NotReady,
    Ready,
    Replies,
    ServerInfo,
    SessionView,
    SetupErrors,
    UploadedImage,
)
from server.protocol.replies import ErrorReply
from server.protocol.setup import MAX_SETUP_BYTES, Setup, setup_schema

COMMAND = "Command"  # any one message of a client
ANSWERS: tuple[type[BaseModel], ...] = (
    *(ServerInfo, Ready, NotReady, Replies, SessionView, SetupErrors, UploadedImage, ErrorReply),
)
ABOUT = """
Connect with WHIP (RFC 9725): POST an SDP offer that sends video; the last part of the answer's Location is
the session's id. Whoever knows it may control the session, by the messages below: over the data channel
`control`, over a WebSocket, or one at a time over HTTP. PROTOCOL.md tells what they do and when.
"""


def document(given: Iterable[object]) -> Json:
    """The OpenAPI 3.1 document, ready to be encoded as JSON.

    `given`: what answers before the endpoints do, decorated with `may_answer`.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "depthlive", "version": _version(), "description": ABOUT.strip()},
        "paths": _paths(given),
        "components": {"schemas": _schemas()},
    }


def _paths(given: Iterable[object]) -> Json:
    """Each operation with its own answers, and those that it may get before."""
    answers = answers_of(given)
    paths = {
        **_server_paths(),
        **whip_paths(),
        **media_socket_paths(),
        **_session_paths(),
        **whep_paths(),
    }
    for path, methods in paths.items():
        for method, told in methods.items():
            if method != "parameters":
                operation = Operation(method.upper(), path, "requestBody" in told)
                for one in answers:
                    if one.of(operation):
                        add_answer(told["responses"], one)
    return paths


def _schemas() -> Json:
    """Every model, those of messages as they are sent. `Command` is any message of a client, by its type."""
    models = [(model, "validation") for model in CLIENT_MESSAGES.values()]
    models += [(Login, "validation")]
    models += [(model, "serialization") for model in ANSWERS]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # pyright: ignore[reportArgumentType] -- a list of pairs
    for model in CLIENT_MESSAGES.values():  # has a default for Python's sake, but must be sent
        schema = definitions["$defs"][model.__name__]
        schema["required"] = ["type", *schema["required"]]
    mapping = {name: ref(model.__name__) for name, model in CLIENT_MESSAGES.items()}
    command = {
        "description": "One message of a client.",
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    setup = setup_schema("#/components/schemas/{model}")
    return {**definitions["$defs"], **setup.pop("$defs"), Setup.__name__: setup, COMMAND: command}


def _server_paths() -> Json:
    return {
        "/healthz": {"get": operation("The process answers.", {"200": text("ok")})},
        "/readyz": {
            "get": operation(
                "Whether the model is warm.",
                {"200": json_of("It is.", Ready), "503": json_of("It is not, for this reason.", NotReady)},
            )
        },
        "/metrics": {"get": operation("Figures for Prometheus.", {"200": text("Prometheus text.")})},
        "/login": {
            "post": operation(
                "Trade a token for a cookie, for pages: they can set no header on a WebSocket.",
                {
                    "204": {"description": "The cookie is set."},
                    "400": text("There is no token in it."),
                    "401": text("The token is not one of this server, or has expired."),
                    "404": text("Nobody needs a token here."),
                    "415": text("It is not application/json."),
                    "429": text("Too many were refused from this address."),
                },
                {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": ref(Login.__name__)}}},
                },
            )
        },
        "/logout": {
            "post": operation(
                "Log out: the cookie is good no more, and what was let in by it ends.",
                {"204": {"description": "The browser forgets it."}},
            )
        },
        "/api/info": {
            "get": operation(
                "What a client needs before it connects.", {"200": json_of("This server.", ServerInfo)}
            )
        },
        "/looks/{name}": {
            "parameters": [parameter("name", "of a look's picture, as /api/info has it")],
            "get": operation(
                "The picture of a look.",
                {**of_a_file("image/webp"), "404": text("There is none.")},
            ),
        },
        "/openapi.json": {
            "get": operation("This document.", {"200": answer("OpenAPI 3.1.", "application/json")})
        },
    }


def _session_paths() -> Json:
    id = parameter("id", "of the session: the last part of Location")
    missing = {"404": text(NO_SESSION)}
    return {
        "/sessions/{id}": {
            "parameters": [id],
            "get": operation(
                "State, settings and figures.", {"200": json_of("How it stands.", SessionView), **missing}
            ),
        },
        "/sessions/{id}/commands": {
            "parameters": [id],
            "post": operation(
                "Send one message.",
                {
                    "200": json_of("Its immediate answers.", Replies),
                    "400": json_of("It is not valid, or is refused.", ErrorReply),
                    **missing,
                    "413": text(f"It is larger than {MAX_MESSAGE_BYTES} bytes."),
                    "415": text("It is not application/json."),
                    "429": json_of(
                        f"The session gets more than {MAX_MESSAGES_PER_SECOND:.0f} a second.", ErrorReply
                    ),
                },
                {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": ref(COMMAND)}}},
                },
            ),
        },
        "/sessions/{id}/setup": {
            "parameters": [id],
            "get": operation(
                "All that is set, to be loaded again.",
                {"200": json_of("The set-up.", Setup), **missing},
            ),
            "put": operation(
                "Load a set-up: what it names, from one chunk on, or none of it.",
                {
                    "200": json_of("Acks of the commands that it stands for.", Replies),
                    "400": json_of("It is not valid, or is refused.", SetupErrors),
                    **missing,
                    "413": text(f"It is larger than {MAX_SETUP_BYTES} bytes."),
                    "415": text("It is not application/json."),
                    "429": text("More than two a second."),
                },
                {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": ref(Setup.__name__)}}},
                },
            ),
        },
        "/sessions/{id}/ws": {
            "parameters": [id, *handshake()],
            "get": operation(
                "A WebSocket on which messages go both ways, one each.",
                {
                    "101": {"description": "It is open: hello, state and settings follow."},
                    "400": text("This is no WebSocket handshake."),
                    **missing,
                    "503": text("Too many clients control this session."),
                },
            ),
        },
        "/sessions/{id}/images": {
            "parameters": [id],
            "post": operation(
                "Upload a picture for references.set or mask.set.",
                {
                    "201": json_of("It is kept, as one of the newest 16.", UploadedImage),
                    "400": text("It cannot be decoded, or its size is out of bounds."),
                    **missing,
                    "413": text(f"It is larger than {MAX_IMAGE_BYTES} bytes."),
                    "415": text("Another type."),
                    "429": text("More than two a second."),
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
            "get": operation(
                "The generated picture on show, what made it in its text chunks.",
                {
                    "200": binary("The picture.", "image/png"),
                    **missing,
                    "409": text("There is none yet."),
                    "429": text("More than four a second."),
                },
            ),
        },
        "/sessions/{id}/recordings/{name}": {
            "parameters": [id, parameter("name", "of the recording, as its message has it")],
            "get": operation(
                "A finished recording, also of a session that has ended.",
                {
                    **of_a_file("video/mp4"),
                    "404": text("There is none, it is not finished, or it has given way to newer ones."),
                },
            ),
        },
    }


def _version() -> str:
    try:
        return version("depthlive")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
