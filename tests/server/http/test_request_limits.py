"""What one address may ask of the HTTP side, and how slowly: over real sockets."""

import asyncio
from contextlib import suppress

import pytest

import server.http.request_limits
import server.http.socket_limits
from server.settings import load_settings
from server.transport.address_limits import Shares
from tests.server.running import PATIENCE_S, RunningServer, running_server

MEGABYTE = 1 << 20


@pytest.fixture
def limits():
    return {}


@pytest.fixture
def settings(limits):
    return load_settings({"prompt": "clay", **limits})


class Socket:
    """A client that writes what it likes, as slowly as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def says(self, text: str) -> None:
        self._writer.write(text.encode())
        await self._writer.drain()

    async def told(self) -> str:
        """All that comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return (await self._reader.read()).decode()

    async def status(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return (await self._reader.readline()).decode().split()[1]

    def end(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self.end()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def open_socket(running: RunningServer) -> Socket:
    return Socket(*await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2])))


@pytest.mark.parametrize("text", ["", "GET / HTTP/1.1\r\nHost: [::1]\r\nX-Slow: ", "GET /healthz"])
async def test_law_a_socket_that_asks_nothing_whole_is_closed(monkeypatch, settings, engine, text):
    monkeypatch.setattr(server.http.socket_limits, "SILENCE_S", 0.3)
    async with running_server(settings, engine) as running:
        silent = await open_socket(running)
        await silent.says(text)
        assert await silent.told() == ""
        await silent.close()


@pytest.mark.parametrize("path", ["/whip", "/sessions/none/whep"])
async def test_law_a_body_that_does_not_come_ends(monkeypatch, server_running, caplog, path):
    monkeypatch.setattr(server.http.request_limits, "SMALL_BODY_S", 0.3)
    slow = await open_socket(server_running)
    head = f"POST {path} HTTP/1.1\r\nHost: [::1]\r\n"
    head += "Content-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv=0"
    await slow.says(head)
    assert await slow.status() == "408"
    assert (await slow.told()).endswith("the body did not come within 0.3 s")
    await slow.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("path", ["/whip", "/sessions/none/whep", "/healthz"])
async def test_law_a_chunked_body_without_an_end_is_closed(monkeypatch, settings, engine, path, caplog):
    """However it drips: answered, then closed."""
    monkeypatch.setattr(server.http.request_limits, "LARGE_BODY_S", 0.3)
    monkeypatch.setattr(server.http.socket_limits, "LINGER_S", 0.3)
    async with running_server(settings, engine) as running:
        endless = await open_socket(running)
        method, answer = ("GET", "200") if path == "/healthz" else ("POST", "408")
        await endless.says(f"{method} {path} HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/sdp\r\n")
        await endless.says("Transfer-Encoding: chunked\r\n\r\n")
        dripping = asyncio.create_task(drip(endless))
        try:
            with suppress(ConnectionError):  # closed while something was on its way
                assert await endless.status() == answer
                await endless.told()
        finally:
            dripping.cancel()
            await endless.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def drip(socket: Socket) -> None:
    with suppress(ConnectionError):
        while True:
            await socket.says("1\r\na\r\n")
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("length", ["Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\n"])
@pytest.mark.parametrize(
    "path", ["/whip", "/sessions/ID/whep", "/sessions/ID/commands", "/sessions/ID/images"]
)
async def test_a_client_that_leaves_within_its_body_is_no_error(
    server_running, monkeypatch, caplog, path, length, is_reset
):
    left = asyncio.Event()
    give_back = Shares.give_back
    monkeypatch.setattr(Shares, "give_back", lambda *args: (give_back(*args), left.set()))
    async with server_running.viewer() as viewer:
        path = path.replace("ID", viewer.location.rpartition("/")[2])
        kind = {"commands": "application/json", "images": "image/png"}.get(path.rpartition("/")[2])
        leaving = await open_socket(server_running)
        await leaving.says(f"POST {path} HTTP/1.1\r\nHost: [::1]\r\n")
        await leaving.says(f"Content-Type: {kind or 'application/sdp'}\r\n{length}v=0")
        left.clear()
        (leaving.reset if is_reset else leaving.end)()
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        async with server_running.http.get(server_running.url + "/healthz") as response:
            assert response.status == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.fixture
async def server_running(settings, engine):
    async with running_server(settings, engine) as running:
        yield running


@pytest.mark.parametrize("limits", [{"max_sockets_per_address": 4}, {"max_sockets": 4}])
async def test_law_sockets_are_counted_and_given_back(limits, server_running):
    mine = [await open_socket(server_running) for _ in range(4)]
    late = await open_socket(server_running)
    words = await late.told()
    assert words.startswith("HTTP/1.1 503") and "Retry-After: 1" in words and "at most 4" in words
    for one in [late, *mine]:
        await one.close()
    for _ in range(100):
        async with server_running.http.get(server_running.url + "/healthz") as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("sockets were not given back")


@pytest.mark.parametrize("limits", [{"trusted_proxies": ["127.0.0.1"], "max_sockets_per_address": 1}])
async def test_law_a_trusted_proxy_has_the_sockets_of_all(limits, server_running):
    """Behind it stands everybody; the limit in all still holds."""
    mine = [await open_socket(server_running) for _ in range(3)]
    for one in mine:
        await one.says("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await one.status() == "200"
        await one.close()


@pytest.mark.parametrize("limits", [{"trusted_proxies": ["127.0.0.1"], "max_sockets": 2}])
async def test_a_trusted_proxy_has_no_more_sockets_than_there_are(limits, server_running):
    mine = [await open_socket(server_running) for _ in range(3)]
    assert "at most 2 in all" in await mine[-1].told()
    for one in mine:
        await one.close()


def upload(size: int) -> str:
    """The head of a picture's upload, and a little of it."""
    return (
        "POST /sessions/none/images HTTP/1.1\r\nHost: [::1]\r\nContent-Type: image/png\r\n"
        f"Content-Length: {size}\r\n\r\nabc"
    )


@pytest.mark.parametrize(
    "limits", [{"max_upload_mb_per_address": 16}, {"max_upload_mb_per_address": 64, "max_upload_mb": 16}]
)
async def test_law_bytes_on_their_way_are_bounded_and_refused_unread(server_running):
    async with server_running.viewer() as viewer:
        id = viewer.location.rpartition("/")[2]
        stalled = [await open_socket(server_running) for _ in range(2)]
        for one in stalled:
            await one.says(upload(8 * MEGABYTE).replace("none", id))
        await asyncio.sleep(0)
        more = await open_socket(server_running)
        while True:  # the first two may not have been looked at yet
            await more.says(upload(8 * MEGABYTE).replace("none", id))
            if (status := await more.status()) != "429":
                break
            await more.close()
            more = await open_socket(server_running)
        assert status == "503"
        viewer.send({"type": "ping", "id": "1"})
        await viewer.message("pong", id="1")
        async with server_running.http.post(
            f"{server_running.url}/sessions/{id}/commands", json={"type": "ping", "id": "2"}
        ) as response:
            assert response.status == 200, "small bodies are not held up by large ones"
        for one in [*stalled, more]:
            await one.close()


@pytest.mark.parametrize("limits", [{"connects_per_second": 0.2}])
@pytest.mark.parametrize("path", ["/whip", "/ws", "/sessions/none/whep", "/sessions/none/ws"])
async def test_law_an_address_connects_no_more_often_than_it_may(server_running, path):
    method = "GET" if path.endswith("ws") else "POST"
    statuses = []
    for _ in range(4):
        async with server_running.http.request(method, server_running.url + path) as response:
            statuses.append(response.status)
            words = await response.text()
    assert 429 not in statuses[:2] and statuses[2:] == [429, 429]
    assert response.headers["Retry-After"] and "connections: expected at most 0.2 a second" in words
    assert (await server_running.json("/api/info"))["sessions"] == 0


@pytest.mark.parametrize("limits", [{"connects_per_second": 0.2, "public_prefix": "/live"}])
async def test_law_below_the_public_prefix_connects_count_too(server_running):
    statuses = []
    for path in ("/live/whip", "/whip", "/live/whip/", "/live/ws"):
        method = "GET" if path.endswith("ws") else "POST"
        async with server_running.http.request(method, server_running.url + path) as response:
            statuses.append(response.status)
    assert 429 not in statuses[:2] and statuses[2:] == [429, 429]


@pytest.mark.parametrize("limits", [{"requests_per_second": 0.2}])
async def test_law_an_address_asks_no_more_often_than_it_may(server_running):
    statuses = []
    for path in ("/healthz", "/nowhere", "/healthz"):
        async with server_running.http.get(server_running.url + path) as response:
            statuses.append(response.status)
    assert statuses == [200, 404, 429]
