"""openapi.json is valid, complete, and says what the protocol says."""

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from server.app import create_app
from server.engine.client import EngineClient
from server.http.openapi import document
from server.protocol.codec import CLIENT_MESSAGES
from server.settings import load_settings
from tests.server.running import PATIENCE_S, until

PROTOCOL = (Path(__file__).parents[3] / "PROTOCOL.md").read_text(encoding="utf-8")
SENT = PROTOCOL.partition("\n## Client to server\n")[2].partition("\n## ")[0]
COMMANDS = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", SENT, re.DOTALL)]
PAGE = {"/"}
DOCUMENT = json.loads(json.dumps(document(())))  # with the answers of endpoints alone


def schema_of(name: str) -> jsonschema.Draft202012Validator:
    """A validator of one of the document's schemas; references within the document are followed."""
    return jsonschema.Draft202012Validator(DOCUMENT | {"$ref": f"#/components/schemas/{name}"})


def test_it_is_valid():
    validate(DOCUMENT)


async def test_it_has_every_route_and_no_other():
    settings = load_settings({})
    app = create_app(settings, EngineClient(settings))
    routes = {
        (route.resource.canonical.rstrip("/") or "/", route.method.lower())  # with a slash it is the same
        for route in app.router.routes()
        if route.resource is not None
        and not isinstance(route.resource, web.StaticResource)
        and route.method != "*"  # 405
        and (route.resource.canonical in PAGE or not route.resource.canonical.endswith("/"))  # the same again
    }
    served = {(path, method) for path, method in routes if path not in PAGE and method != "head"}
    told = {
        (path, method)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert told == served


async def test_law_the_loop_goes_on_while_the_document_is_made_once(server, monkeypatch):
    """It takes a tenth of a second, in which streams would stand still."""
    begun, may_end = list[object](), threading.Event()

    def slow(before: Sequence[object]) -> object:
        begun.append(before)
        assert may_end.wait(PATIENCE_S), "the loop stands still"
        return document(before)

    monkeypatch.setattr("server.app.document", slow)
    asked = [asyncio.create_task(server.json("/openapi.json")) for _ in range(2)]
    await until(lambda: len(begun) > 0, "it is being made")
    assert await server.json("/api/info")
    may_end.set()
    first, second = await asyncio.gather(*asked)
    assert first == second and first["openapi"]
    assert len(begun) == 1


def test_parameters_are_those_of_the_paths():
    for path, operations in DOCUMENT["paths"].items():
        parameters = operations.get("parameters", [])
        named = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        assert named == re.findall(r"{(\w+)}", path)


def test_every_message_of_a_client_has_an_example():
    assert {example["type"] for example in COMMANDS} == set(CLIENT_MESSAGES)


@pytest.mark.parametrize("example", COMMANDS, ids=lambda example: example["type"])
def test_every_example_of_the_protocol_is_a_command(example):
    schema_of("Command").validate(example)


def test_what_the_protocol_refuses_is_no_command():
    for wrong in (
        {"type": "nothing", "id": "1"},
        {"id": "1", "text": "gold"},
        {"type": "reset"},
        {"type": "reset", "id": "1", "colour": "red"},
        {"type": "guidance.set", "id": "1", "scale": 9},
    ):
        assert not schema_of("Command").is_valid(wrong)


def test_law_fields_that_an_endpoint_demands_are_parameters():
    paths = DOCUMENT["paths"]
    for path, method, fields in (
        ("/ws", None, {"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"}),
        ("/sessions/{id}/ws", None, {"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"}),
        ("/whip/{id}", "patch", {"If-Match"}),
        ("/sessions/{id}/whep/{viewer}", "patch", {"If-Match"}),
    ):
        told = (paths[path][method] if method else paths[path])["parameters"]
        assert {one["name"] for one in told if one["in"] == "header" and one["required"]} == fields


@pytest.mark.parametrize("queries", [DOCUMENT["paths"]["/whip"]["post"], DOCUMENT["paths"]["/ws"]])
def test_what_whoever_comes_may_say_in_the_address_is_told(queries):
    named = [one["name"] for one in queries["parameters"] if one["in"] == "query"]
    assert named == ["session", "ticket", "lease"]
