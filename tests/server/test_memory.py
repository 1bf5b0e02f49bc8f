"""What is freed is given back, on any C library without harm."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import weakref
from collections import Counter

import pytest

import server.memory
from server.memory import PERIOD_S, give_back_memory, malloc_trim
from server.session.session import LiveSession
from server.settings import load_settings
from tests.server.running import CAMERA_FPS, running_server, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.websocket.media_client import media_client

FRAGMENTED = """
from pathlib import Path
from server.memory import malloc_trim
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
held = [bytearray(b"x" * 60_000) for _ in range(2000)]
kept = held[::100]  # so that malloc cannot give back all behind them by itself
del held
before = resident()
malloc_trim()()
print(before - resident())
"""


class Leaving:
    """One that knows itself, as a session and its tasks know each other."""

    def __init__(self):
        self.itself = self


@contextlib.asynccontextmanager
async def giving(gone):
    task = asyncio.create_task(give_back_memory(lambda: gone["sessions"]))
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.wait([task])


@contextlib.contextmanager
def only_when_asked():
    """Python's garbage collector: as if nobody made objects."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.virtual_time
async def test_law_what_was_freed_is_given_back_twice_a_minute(monkeypatch):
    given: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(server.memory, "malloc_trim", lambda: lambda: given.append(loop.time()))
    began = loop.time()
    async with giving(Counter()):
        await asyncio.sleep(4 * PERIOD_S + 1)
    assert [at - began for at in given] == pytest.approx([PERIOD_S * n for n in (1, 2, 3, 4)])


@pytest.mark.virtual_time
@pytest.mark.parametrize("platform", ["linux", "darwin"])
async def test_law_what_a_session_leaves_is_gone_within_a_minute(monkeypatch, platform):
    """Also of one that was counted as gone and was not quite; and on every C library."""
    monkeypatch.setattr(sys, "platform", platform)
    gone = Counter()
    async with giving(gone):
        with only_when_asked():
            one = Leaving()
            seen = weakref.ref(one)
            await asyncio.sleep(PERIOD_S - 0.1)
            gone["sessions"] += 1
            await asyncio.sleep(0.2)
            assert seen() is one, "somebody holds it"
            del one
            assert seen() is not None, "nobody but itself"
            await asyncio.sleep(PERIOD_S)
            assert seen() is None


@pytest.mark.virtual_time
async def test_law_where_nobody_leaves_nobody_waits_for_the_collector(monkeypatch):
    collections: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1))
    gone = Counter()
    async with giving(gone):
        await asyncio.sleep(5.5 * PERIOD_S)
        assert collections == []
        gone["sessions"] += 3
        await asyncio.sleep(5 * PERIOD_S)
    assert collections == [1, 1]


@pytest.mark.skipif(malloc_trim() is None, reason="this C library keeps it")
def test_law_pages_that_nobody_uses_go_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000, "kB, of 120 MB"


async def test_a_server_gives_back_memory(server):
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert names.count("give_back_memory") == 1


async def test_law_a_server_keeps_nothing_of_a_session_that_has_ended(engine, monkeypatch):
    """Of one that was told to end, and of one whose peer was lost, by WebRTC and by WebSocket."""
    monkeypatch.setattr(server.memory, "PERIOD_S", 0.2)
    settings = load_settings({"max_fps": CAMERA_FPS, "resume_seconds": 0.5})
    async with running_server(settings, engine) as running:
        with only_when_asked():
            left: list[weakref.ref[LiveSession]] = []
            for ends in (True, False):
                async with running.viewer() as viewer:
                    await viewer.live()
                    left.append(weakref.ref(running.peers.find(id_of(viewer))))
                    if ends:
                        await viewer.delete()
            async with media_client(running) as client:
                await client.live()
                left.append(weakref.ref(running.peers.find((await client.message("hello"))["session"])))
            del viewer, client
            await until(lambda: not any(session() for session in left), "all are gone")
