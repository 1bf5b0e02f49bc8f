"""Nothing stays behind when viewers come and go."""

import asyncio
import gc
import os
import threading
from collections import Counter

import pytest
from aiortc import RTCPeerConnection

from server.session.session import LiveSession
from server.settings import load_settings
from server.websocket.peer import WebSocketPeer
from tests.server.running import CAMERA_FPS, PATIENCE_S, RunningServer, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.watching import until_viewers, watcher
from tests.server.websocket.media_client import media_client

CYCLES = 20
CYCLES_BY_SOCKET = 6
WATCHERS = 4


@pytest.fixture
def settings():
    """Sessions of those who just leave are kept, if not for long."""
    return load_settings({"max_fps": CAMERA_FPS, "resume_seconds": 0.5})


def left() -> dict[str, object]:
    """What could leak: tasks by their name, threads but for the pool's, file handles, objects."""
    gc.collect()
    types = Counter(map(type, gc.get_objects()))
    return {
        "tasks": Counter(getattr(t.get_coro(), "__qualname__", "") for t in asyncio.all_tasks()),
        "threads": sorted(t.name for t in threading.enumerate() if not t.name.startswith("asyncio_")),
        "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "connections": types[RTCPeerConnection],
        "sessions": types[LiveSession],
        "sockets": types[WebSocketPeer],
    }


async def come_and_go(server: RunningServer, number: int) -> None:
    """Every third viewer ends its session, the others just leave, some before the first picture."""
    async with server.viewer() as viewer:
        if number % 2:
            await viewer.live()
        if number % 3 == 0:
            await viewer.delete()
    await server.empty()


async def test_twenty_viewers_leave_nothing_behind(server, engine):
    await come_and_go(server, 1)
    await until(lambda: len(engine.freed_in) == 1, "the first stream is freed")
    before = left()
    for number in range(CYCLES):
        await come_and_go(server, number)
    await until(lambda: len(engine.freed_in) == CYCLES + 1, "all streams are freed")
    after = left()
    assert after == before
    assert before["connections"] == before["sessions"] == 0
    assert len(engine.streams) == 0
    assert engine.freed_in == ["engine"] * (CYCLES + 1), "one thread owns the model"


async def watch_and_leave(server: RunningServer, id: str, number: int) -> None:
    """Every second one says that it leaves, the others just do; every third sees no picture before."""
    async with watcher(server, id) as seen:
        await until(lambda: seen.pc.connectionState == "connected", "the connection")
        if number % 3:
            await until(lambda: len(seen.frames) > 2, "pictures")
        if number % 2:
            assert await seen.delete() == 200
    await until_viewers(server, 0)


async def publish_for(server: RunningServer, watchers: int) -> None:
    async with server.viewer() as publisher:
        await publisher.live()
        for number in range(watchers):
            await watch_and_leave(server, id_of(publisher), number)
        await publisher.delete()


async def test_those_who_watch_leave_nothing_behind(server, engine):
    await publish_for(server, 1)
    await until(lambda: len(engine.streams) == 0, "the stream is freed")
    before = left()
    await publish_for(server, WATCHERS)
    await until(lambda: len(engine.streams) == 0, "the stream is freed")
    assert left() == before
    assert before["connections"] == before["sessions"] == 0


def handlers() -> int:
    """Of HTTP requests that are not answered yet, as a WebSocket that is open."""
    return [task.get_coro().__qualname__ for task in asyncio.all_tasks()].count(
        "RequestHandler._handle_request"
    )


async def come_and_go_by_socket(server: RunningServer, number: int) -> None:
    """Every third client ends its session, the others are lost and come back once."""
    async with media_client(server) as client:
        id = (await client.message("hello"))["session"]
        await client.live()
        if number % 3:
            client.socket._response.connection.transport.abort()
    await server.empty()
    if number % 3:
        async with media_client(server, former=id) as client:
            assert (await client.message("hello"))["session"] == id
            async with server.http.ws_connect(f"{server.url}/sessions/{id}/ws") as control:
                await control.receive_json(timeout=PATIENCE_S)
    await server.empty()


async def test_those_who_come_by_websocket_leave_nothing_behind(server, engine):
    await come_and_go_by_socket(server, 1)
    await until(lambda: len(engine.freed_in) == 1, "the first stream is freed")
    await until(lambda: not handlers(), "its handlers are done")
    before = left()
    assert before["sessions"] == before["sockets"] == 0
    for number in range(CYCLES_BY_SOCKET):
        await come_and_go_by_socket(server, number)
    await until(lambda: len(engine.freed_in) == CYCLES_BY_SOCKET + 1, "all streams are freed")
    await until(lambda: left() == before, f"nothing but {before}")
