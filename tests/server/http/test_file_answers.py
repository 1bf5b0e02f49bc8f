"""Files in ranges and under conditions: each answer that the OpenAPI document lists, driven once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from server.app import create_app
from server.engine.client import EngineClient, Phase
from server.http.openapi import document
from server.http.socket_limits import LimitedRunner
from server.settings import load_settings
from streaming.api import Look
from tests.server.running import RunningServer, running_server, until

SESSION, NAME = "abc", "depthlive-20260101-000000-1.mp4"
BEFORE = "Wed, 31 Dec 1980 23:59:59 GMT"
OF_A_FILE = {"200", "206", "304", "412", "416"}
DOCUMENTED = {
    "/looks/{name}": "/looks/gold.webp",
    "/sessions/{id}/recordings/{name}": f"/sessions/{SESSION}/recordings/{NAME}",
}


@pytest.fixture
async def serving(tmp_path, engine) -> AsyncIterator[RunningServer]:
    place = tmp_path / SESSION
    place.mkdir()
    (place / NAME).write_bytes(bytes(range(100)))
    picture = tmp_path / "gold.webp"
    picture.write_bytes(bytes(range(200)))
    engine.looks = (Look("Gold", "gold", picture),)
    async with running_server(load_settings({"recordings_dir": tmp_path}), engine) as server:
        await until(lambda: server.worker.readiness.phase is Phase.READY, "the looks are known")
        yield server


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def asked(server: RunningServer, path: str, method: str = "GET", **fields: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with server.http.request(method, server.url + path, headers=headers) as response:
        return Answer(response.status, response.headers, await response.read())


def given() -> list[object]:
    settings = load_settings({})
    return [LimitedRunner, *create_app(settings, EngineClient(settings)).middlewares]


async def test_every_file_of_the_document_is_driven_here():
    paths = document(given())["paths"]
    files = {path for path, told in paths.items() if "206" in told.get("get", {}).get("responses", {})}
    assert files == set(DOCUMENTED)
    for path in files:
        assert set(paths[path]["get"]["responses"]) >= OF_A_FILE


@pytest.mark.parametrize("path", [*DOCUMENTED.values(), "/", "/index.html"])
async def test_law_each_answer_of_a_file_is_given(serving, path):
    whole = await asked(serving, path)
    tag, modified, size = whole.headers["ETag"], whole.headers["Last-Modified"], len(whole.body)
    assert whole.status == 200 and size > 50
    for part, first, last in (
        ("bytes=4-7", 4, 7),
        ("bytes=-5", size - 5, size - 1),
        ("bytes=9-", 9, size - 1),
    ):
        for state in (
            {},
            {"If_Range": tag},
            {"If_Range": modified},
            {"If_None_Match": '"x"'},
            {"If_Match": tag},
        ):
            found = await asked(serving, path, Range=part, **state)
            assert (found.status, found.body) == (206, whole.body[first : last + 1]), (part, state)
            assert found.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    for state in ({"If_Range": '"x"'}, {"If_Range": "x"}, {"If_Range": f"W/{tag}"}, {"If_Range": BEFORE}):
        found = await asked(serving, path, Range="bytes=4-7", **state)
        assert (found.status, found.body) == (200, whole.body), state
    for state in (
        {"If_None_Match": tag},
        {"If_None_Match": f'"x", W/{tag}'},
        {"If_Modified_Since": modified},
    ):
        found = await asked(serving, path, **state)
        assert (found.status, found.body, found.headers.get("ETag")) == (304, b"", tag), state


REFUSED = [
    (412, {"If_Match": '"x"'}, 'If-Match: got "x", the file is another'),
    (
        412,
        {"If_Unmodified_Since": BEFORE},
        "If-Unmodified-Since: got Wed, 31 Dec 1980",
    ),
    (416, {"Range": "bytes=99999999-"}, "Range: got bytes=99999999-, expected one range of bytes"),
    (416, {"Range": "bytes=7-4"}, "Range: got bytes=7-4, expected"),
    (416, {"Range": "lines=1-2"}, "Range: got lines=1-2, expected"),
    (416, {"Range": "bytes=0-1,4-5"}, "Range: got bytes=0-1,4-5, expected one range"),
]


@pytest.mark.parametrize("path", [*DOCUMENTED.values(), "/"])
@pytest.mark.parametrize(("status", "fields", "words"), REFUSED)
async def test_law_a_file_that_cannot_be_sent_so_is_refused_in_words(serving, path, status, fields, words):
    found = await asked(serving, path, **fields)
    assert found.status == status and found.body.decode().startswith(words)
    assert found.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert found.headers["Cache-Control"] == "no-store" and "Content-Disposition" not in found.headers
    assert ("Content-Range" in found.headers) is (status == 416)
    head = await asked(serving, path, "HEAD", **fields)
    assert (head.status, head.body) == (status, b"")
    assert (await asked(serving, path)).status == 200, "the connection goes on"


FIELDS = [b"If-Range", b"If-Match", b"If-None-Match", b"If-Unmodified-Since", b"Range", b"Cookie"]


@pytest.mark.parametrize("field", FIELDS)
async def test_law_a_field_that_is_no_utf8_is_passed_over_or_refused(serving, field, caplog):
    """Seen in a long attack: If-Range with such bytes ended in an exception."""
    address = urlsplit(serving.url)
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nRange: bytes=4-7\r\n"
    for value in (b"\xe2", b"a\xb0b", b'"\xff"', b"bytes=\xe2\x80-4"):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head + field + b": " + value + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.split(b" ")[1] in (b"200", b"206", b"304", b"400", b"412", b"416"), answer
        answer.decode()
    assert "Unhandled" not in caplog.text
