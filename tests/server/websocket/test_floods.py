"""Clients of WebSockets that send far too much: told once, then closed with a reason."""

import asyncio
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import WSMessage, WSMsgType

from server.session.message_limit import MessageLimit
from server.settings import load_settings
from server.websocket.control import messages
from server.websocket.media_frame import Kind, MediaFrame
from tests.server.running import PATIENCE_S, rounds_of_the_loop, until
from tests.server.websocket.media_client import CAMERA_FPS, media_client


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS, "max_sessions": 2})


async def flood(socket, kind: str) -> None:
    """Much more than is taken; a server that closes meanwhile ends it."""
    try:
        for number in range(600):
            match kind:
                case "pings":
                    await socket.send_json({"type": "ping", "id": f"{number}"})
                case "long texts":
                    await socket.send_str(" " * 30_000)
                case "pings of the WebSocket":
                    await socket.ping()
                case "pongs of the WebSocket":
                    await socket.pong()
                case "codec requests":
                    await socket.send_bytes(MediaFrame(Kind.CODEC_REQUEST, Kind.VP8).encode())
    except ConnectionError:
        pass


KINDS = ["pings", "long texts", "pings of the WebSocket", "pongs of the WebSocket"]


@pytest.mark.parametrize("kind", [*KINDS, "codec requests"])
async def test_law_who_floods_the_media_socket_is_told_and_closed_and_may_not_return(server, kind):
    async with media_client(server) as client:
        await client.live()
        id = (await client.message("hello"))["session"]
        await flood(client.socket, kind)
        assert await client.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
        told = [message for message in client.messages if message.get("code") == "rate"]
        assert len(told) <= 2
    await server.empty()
    async with server.http.get(f"{server.url}/sessions/{id}") as response:
        assert response.status == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_law_who_floods_the_control_socket_is_closed_and_the_session_goes_on(server, kind):
    async with media_client(server) as client:
        await client.live()
        id = (await client.message("hello"))["session"]
        async with server.http.ws_connect(f"{server.url}/sessions/{id}/ws") as socket:
            await flood(socket, kind)
            async with asyncio.timeout(PATIENCE_S):
                async for _ in socket:
                    pass
            assert socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
        count = len(client.pictures)
        await until(lambda: len(client.pictures) > count + 20, "pictures")
        await client.ask("ping", "1")
        await client.message("pong", id="1")


async def test_pings_of_the_websocket_are_answered(server):
    async with server.http.ws_connect(f"{server.url}/ws", autoping=False) as socket:
        await socket.ping(b"here")
        async with asyncio.timeout(PATIENCE_S):
            while (message := await socket.receive()).type is not aiohttp.WSMsgType.PONG:
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
        assert message.data == b"here"


class Backlog:
    """A socket on which so much has come that reading it waits for nothing."""

    def __init__(self, *types: WSMsgType) -> None:
        self._types = iter(types)

    async def pong(self, data: bytes) -> None: ...

    def __aiter__(self) -> "Backlog":
        return self

    async def __anext__(self) -> WSMessage:
        if (type := next(self._types, None)) is None:
            raise StopAsyncIteration
        return WSMessage(type, b"x", None)


async def test_law_what_has_come_on_one_socket_does_not_hold_the_loop():
    """One message in each round of the loop, however many have come; pings, too."""
    at = []
    backlog = Backlog(*[WSMsgType.TEXT] * 10, *[WSMsgType.PING] * 10, WSMsgType.BINARY)
    async with rounds_of_the_loop() as rounds:
        async for message in messages(backlog, MessageLimit(), lambda: 0.0):
            at.append(rounds[0])
            assert message.data == b"x"
    assert len(at) == 11 and all(later > before for before, later in pairwise(at))
    assert at[-1] - at[-2] > 10
