"""Requests that no endpoint can use get words, whichever endpoint it is, and leave nothing in the log."""

import asyncio
import gzip

import pytest
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParserPy

from tests.server.running import PATIENCE_S, RunningServer, until

ENDPOINTS = ["/whip", "/sessions/x/whep", "/sessions/x/commands", "/sessions/x/reference", "/nothing"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("charset", ["nope", "hex", "undefined", "rot13", "utf-16", "idna", "x" * 3000, "é"])
async def test_a_body_in_an_unknown_charset_is_refused(server, path, charset):
    headers = {"Content-Type": f"application/sdp; charset={charset}"}
    async with server.http.post(server.url + path, data=b"v=0", headers=headers) as response:
        assert response.status == 415
        assert (await response.text()).startswith(f"charset: got {charset[:40]}")


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii", "latin-1"])
async def test_charsets_of_every_text_are_read(server, charset):
    headers = {"Content-Type": f"application/sdp; charset={charset}"}
    async with server.http.post(server.url + "/whip", data=b"v=0", headers=headers) as response:
        assert (response.status, (await response.text())[:22]) == (400, "the offer has no video")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x"])
async def test_a_compressed_body_is_refused_whole_or_broken(server, path, coding, caplog):
    for body in (b"v=0", gzip.compress(b"v=0"), gzip.compress(b"v=0")[:-3], gzip.compress(bytes(10**6))):
        answer = await asked(
            server,
            f"POST {path} HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nContent-Type: application/sdp\r\n"
            f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body,
        )
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert answer.endswith(f"Content-Encoding: got {coding}, expected none".encode())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "path", ["a" * 256, "a" * 5000, "a/" * 2100, "%c3%a9" * 130, "looks/" + "a" * 300, "whip/" + "a" * 300]
)
async def test_an_address_too_long_for_a_file_is_not_found(server, path, caplog):
    answer = await asked(server, f"GET /{path} HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ") and answer.endswith(b"there is nothing at this address")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "path", ["%00", "a%00b", "index.html/x", "%ff", "..%2f..%2fetc/passwd", "~", "é" * 120]
)
async def test_an_odd_address_is_not_found(server, path):
    answer = await asked(server, f"GET /{path} HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n".encode())
    assert answer[9:12] in (b"404", b"400")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/whip/", 415),
        ("OPTIONS", "/whip/", 200),
        ("GET", "/whip/", 405),
        ("DELETE", "/whip/x/", 404),
        ("OPTIONS", "/whip/x/", 200),
        ("POST", "/sessions/x/whep/", 415),
        ("DELETE", "/sessions/x/whep/y/", 404),
        ("GET", "/healthz/", 200),
        ("GET", "/api/info/", 200),
        ("GET", "/openapi.json/", 200),
    ],
)
async def test_a_slash_at_the_end_changes_nothing(server, method, path, status):
    await server.worker.ready()  # or the second answer could tell of something new
    answers = []
    for one in (path, path.rstrip("/")):
        async with server.http.request(method, server.url + one, allow_redirects=False) as response:
            answers.append((response.status, response.headers.get("Allow"), await response.text()))
    assert answers[0] == answers[1] and answers[0][0] == status


async def asked(server: RunningServer, request: bytes) -> bytes:
    """The whole answer to a request as it is written here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    await writer.wait_closed()
    return answer


REQUEST = "GET /healthz HTTP/1.1\r\nHost: [::1]\r\n"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (f"{REQUEST}X-Null: \0\r\n\r\n", 400),
        (f"{REQUEST}no colon here\r\n\r\n", 400),
        (f"{REQUEST}Content-Length: x\r\n\r\n", 400),
        (f"{REQUEST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"{REQUEST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET /healthz SPDY/1\r\n\r\n", 400),
        (" / HTTP/1.1\r\n\r\n", 400),
        (f"{REQUEST}\r\n5\r\n", 400),  # another request after the first
        ("\x16\x03\x01\x02\0\x01\0", 400),  # TLS
        (f"{REQUEST}X-Long: {'a' * 20_000}\r\n\r\n", 431),
        (f"GET /{'a' * 20_000} HTTP/1.1\r\n\r\n", 431),
        (
            f"{REQUEST.replace('GET /healthz', 'POST /whip')}Content-Type: application/sdp\r\n"
            "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
        ),
    ],
)
async def test_law_what_is_no_http_is_refused_in_words_and_fills_no_log(server, caplog, request_text, status):
    answer = await asked(server, request_text.encode("latin-1"))
    assert int(answer.split()[1]) == status
    words = answer.rpartition(b"\r\n\r\n")[2].decode()
    assert words.startswith("expected") and "b'" not in words and "\n" not in words
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/login", "POST"),
        ("HEAD", "/sessions/x/commands", "POST"),
        ("OPTIONS", "/sessions/x/images/", "POST"),
        ("DELETE", "/healthz", "GET,HEAD"),
        ("PUT", "/ws", "GET"),
        ("TRACE", "/openapi.json", "GET,HEAD"),
    ],
)
async def test_law_every_address_names_the_methods_that_it_takes(server, method, path, allowed):
    async with server.http.request(method, server.url + path) as response:
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        if method != "HEAD":
            assert (await response.text()).startswith("expected ")


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize("path", ["/ws", "/sessions/{id}/ws"])
@pytest.mark.parametrize(
    "change",
    [
        {"Upgrade": ""},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"Sec-WebSocket-Version": "99"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "x"},
        {"Sec-WebSocket-Key": "AAAA"},
    ],
)
async def test_law_what_is_no_handshake_is_refused_in_words(server, path, change):
    async with server.viewer() as viewer:
        path = path.replace("{id}", viewer.location.rpartition("/")[2])
        fields = {
            "Host": "[::1]",
            **HANDSHAKE,
            **change,
            "Connection": change.get("Connection", "Upgrade, close"),
        }
        lines = [f"{name}: {value}" for name, value in fields.items() if value]
        answer = await asked(server, "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
    assert int(answer.split()[1]) == 400
    assert answer.rpartition(b"\r\n\r\n")[2].startswith(
        b"this address takes a WebSocket handshake: expected "
    )


@pytest.mark.parametrize("path", ["/nothing.js", "/vendor/none.css", "/page", "/page/", "/nothing/"])
async def test_a_file_of_the_page_that_does_not_exist_is_not_found_in_words(server, path):
    async with server.http.get(server.url + path) as response:
        assert (response.status, await response.text()) == (404, "there is nothing at this address")


CHUNKED = "Host: [::1]\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nv=0\r\n"


@pytest.mark.parametrize(
    "rest", ["xyz\r\n", "-1\r\n", "3\r\nabcd\r\n", f"{'f' * 40}\r\n", "1;\0\r\n", "0\r\nno\r\n\r\n"]
)
@pytest.mark.parametrize(
    ("path", "type"),
    [("/whip", "application/sdp"), ("/login", "application/json"), ("/sessions/x/whep", "application/sdp")],
)
async def test_law_a_body_that_breaks_later_is_refused_at_once(server, caplog, path, type, rest):
    """And not as one that does not come, which is 408 after its time."""
    await breaks_later(server, caplog, path, type, rest)


async def test_law_a_body_that_breaks_is_refused_where_aiohttp_parses_in_python(server, caplog, monkeypatch):
    """As it does where it could not be compiled: it tells the body's reader, not its protocol."""
    monkeypatch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)
    await breaks_later(server, caplog, "/whip", "application/sdp", "xyz\r\n")


async def breaks_later(
    server: RunningServer, caplog: pytest.LogCaptureFixture, path: str, type: str, rest: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\n{CHUNKED.format(type)}".encode())
    await until(server.waits_for_a_body, "the body is being read")
    writer.write(rest.encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    await writer.wait_closed()
    assert answer.count(b" 400 ") == 1 and answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\nexpected a body in chunks as HTTP/1.1 has them")
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
