"""openapi.json lists the answers that every route may get before its endpoint, those and no others."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from server.access.tokens import Grant, SignedTokens
from server.answers import Operation, answers_of
from server.app import create_app
from server.engine.client import EngineClient
from server.http import request_limits
from server.http.openapi import document
from server.http.socket_limits import LimitedRunner
from server.settings import Settings, load_settings
from tests.server.running import PATIENCE_S, RunningServer, running_server
from tests.server.webrtc.watching import Watcher

SECRET = "0123456789abcdef0123456789abcdef"
SITE = "https://stage.example"
HUGE = 8 << 20
FOREIGN = {"Origin": "https://evil.example", "Upgrade": "websocket"}
UPLOAD = (
    "POST /whip HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
    f"Content-Length: {HUGE}\r\n\r\nv=0"
)
TYPES = {
    "login": "application/json",
    "setup": "application/json",
    "commands": "application/json",
    "images": "image/png",
}


@dataclass(frozen=True)
class Request:
    """As it is written on a socket."""

    headers: dict[str, str] = field(default_factory=dict)
    length: int = 0  # of the body that is announced; what there is of it: a little
    path: str = "x"  # instead of each parameter
    host: str = "localhost"
    version: str = "HTTP/1.1"


@dataclass(frozen=True)
class Case:
    """How every route is brought to give an answer that it may give."""

    words: str = ""  # part of the answer
    request: Request = Request()
    settings: dict[str, Any] = field(default_factory=dict)
    held: str = ""  # sent before, on a socket that stays open


# By what the answer is about: a middleware that tells of another one fails until that has its case here.
CASES = {
    "This is no HTTP/1.1.": Case("expected a request in HTTP/1.1", Request(version="SPDY/1")),
    "The body is larger than 64 KiB, or than is said here.": Case("", Request(length=HUGE + 1)),
    "Expect is something else than 100-continue.": Case("Unknown Expect", Request({"Expect": "miracles"})),
    "A line or a field is too long.": Case("expected shorter lines", Request({"X-Long": "a" * 20_000})),
    "Too many sockets are open: with Retry-After.": Case(
        "open sockets: expected at most 1", settings={"max_sockets_per_address": 1}, held="G"
    ),
    "The address is too long.": Case("there is nothing at this address", Request(path="a" * 300)),
    "The body is compressed, or in an unknown charset.": Case(
        "Content-Encoding: got", Request({"Content-Encoding": "gzip"})
    ),
    "What a proxy tells of the client cannot be read.": Case(
        "X-Forwarded-Proto: expected", Request({"X-Forwarded-Proto": "x"}), {"trusted_proxies": ["127.0.0.1"]}
    ),
    "The Host header is missing or cannot be read.": Case("Host: expected one", Request(host="a b")),
    "A page of a site that is not in allowed_origins asks.": Case("Origin: this site", Request(FOREIGN)),
    "This server is not known by this host name.": Case("not known as evil", Request(host="evil.example")),
    "A page of an allowed site may ask.": Case(
        "Access-Control-Allow-Methods: ",
        Request({"Origin": SITE, "Access-Control-Request-Method": "POST"}),
        {"allowed_origins": [SITE]},
    ),
    "The body did not come in time.": Case("the body did not come within", Request(length=100)),
    "This address asks too often: with Retry-After.": Case(
        "requests: expected at most", settings={"requests_per_second": 1e-6}
    ),
    "Too many bytes are on their way: with Retry-After.": Case(
        "bytes of uploads on their way: expected", Request(length=HUGE), {"max_upload_mb": 8}, held=UPLOAD
    ),
    "A token is needed, and this is none of this server's, or has expired.": Case(
        "expected a token", settings={"auth_secret_file": "secret"}
    ),
    "The token does not allow it.": Case(
        "does not allow this", Request({"Authorization": "Bearer weak"}), {"auth_secret_file": "secret"}
    ),
}


@pytest.fixture
def settings(tmp_path, request) -> Settings:
    """Those of the case, with room for its requests."""
    case = request.getfixturevalue("case") if "case" in request.fixturenames else Case()
    (tmp_path / "secret").write_text(SECRET)
    files = {name: tmp_path / value for name, value in case.settings.items() if name.endswith("_file")}
    return load_settings(
        {"requests_per_second": 1000.0, "connects_per_second": 1000.0} | case.settings | files
    )


def operations(document: dict[str, Any]) -> list[tuple[Operation, set[int]]]:
    """Of the document, each with the statuses of its list."""
    return [
        (Operation(method.upper(), path, "requestBody" in told), {int(one) for one in told["responses"]})
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if method != "parameters"
    ]


def given() -> list[object]:
    """All that answers before endpoints do."""
    settings = load_settings({})
    return [LimitedRunner, *create_app(settings, EngineClient(settings)).middlewares]


async def answered(
    server: RunningServer, operation: Operation, request: Request, parts: dict[str, str]
) -> tuple[int, str]:
    """What a request gets: the status, and all of it. `parts` stand instead of the parameters."""
    path = operation.path
    for name in ("id", "name", "viewer"):
        path = path.replace(f"{{{name}}}", parts.get(name, request.path))
    kind = TYPES.get(operation.path.rpartition("/")[2], "application/sdp")
    if operation.method == "PATCH":
        kind = "application/trickle-ice-sdpfrag"
    weak = SignedTokens(SECRET.encode()).make(Grant("ann", "view", "another"))
    headers = {"Host": request.host, "Content-Type": kind, "If-Match": "*"} | request.headers
    headers |= {"Content-Length": str(request.length)} if request.length else {}
    lines = [f"{operation.method} {path} {request.version}", *(f"{k}: {v}" for k, v in headers.items())]
    text = "\r\n".join(lines).replace("Bearer weak", f"Bearer {weak}") + "\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    try:
        writer.write(text.encode() + (b"v=0" if request.length else b""))
        if request.length > HUGE:
            writer.write(bytes(request.length - 3))
        async with asyncio.timeout(PATIENCE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search("content-length: ([0-9]+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split()[1]), head + body.decode(errors="replace")
    finally:
        writer.transport.abort()


@asynccontextmanager
async def holding(server: RunningServer, text: str) -> AsyncIterator[None]:
    """A socket on which this was sent, once the server refuses others for it."""
    if not text:
        yield
        return
    _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(text.encode())
    probe = Operation("GET", "/healthz", False)
    async with asyncio.timeout(PATIENCE_S):
        while (await answered(server, probe, Request(length=HUGE), {}))[0] != 503:
            pass
    yield
    writer.transport.abort()


@asynccontextmanager
async def living(server: RunningServer, is_needed: bool) -> AsyncIterator[dict[str, str]]:
    """A session that somebody watches: what stands for it in a path. Nothing if it is not needed."""
    if not is_needed:
        yield {}
        return
    async with server.viewer() as publisher:
        id = publisher.location.rpartition("/")[2]
        watcher = await Watcher(server, id).connect()
        try:
            yield {"id": id, "viewer": watcher.location.rpartition("/")[2]}
        finally:
            await watcher.close()


async def test_law_every_middleware_tells_its_answers_and_each_has_a_case():
    assert sorted(CASES) == sorted(answer.about for answer in answers_of(given()))


async def test_the_document_that_is_served_has_them(settings, engine):
    async with running_server(settings, engine) as server:
        assert await server.json("/openapi.json") == document(given())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_law_each_route_gives_the_answers_of_its_list_before_its_endpoint(
    settings, engine, case, monkeypatch, request
):
    """And no other route does."""
    monkeypatch.setattr(request_limits, "SMALL_BODY_S", 0.1)
    (answer,) = [one for one in answers_of(given()) if one.about == request.node.callspec.id]
    wrong = []
    async with (
        running_server(settings, engine) as server,
        living(server, answer.status in (408, 413)) as parts,
        holding(server, case.held),
    ):
        for operation, listed in operations(document(given())):
            told = answered(server, operation, case.request, parts if operation.reads_body else {})
            status, text = await told
            is_given = status == answer.status and case.words in text
            if is_given is not answer.of(operation) or status not in listed:
                wrong.append((operation.method, operation.path, status, text))
    assert not wrong
