"""Nothing stays behind when viewers come and go."""

import asyncio
import gc
import os
import threading
from collections import Counter

import pytest
from aiortc import RTCPeerConnection

from server.live.session import LiveSession
from server.settings import load_settings
from tests.server.running import CAMERA_FPS, RunningServer, until
from tests.server.webrtc.test_peers import id_of
from tests.server.webrtc.watching import until_viewers, watcher

CYCLES = 20
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
    assert engine.freed_in == ["gpu-worker"] * (CYCLES + 1), "one thread owns the model"


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
