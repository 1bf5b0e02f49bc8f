"""How a server's process ends and begins again: signals, a model that is lost, a kill. Real processes."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import torch

from server.media.movie_file import playing_seconds
from server.restart import PERIOD_S, End, stopped_or_lost
from tests.server.running import PATIENCE_S, RunningServer, until
from tests.server.websocket.media_client import MediaClient, media_client

ROOT = Path(__file__).parents[2]
processes = pytest.mark.skipif(sys.platform == "win32", reason="signals")


class OwnProcess(RunningServer):
    """One whose application runs in another process."""

    def __init__(
        self, process: asyncio.subprocess.Process, log: Path, url: str, http: aiohttp.ClientSession
    ) -> None:
        self.process, self.url, self.http = process, url, http
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    async def status(self) -> int:
        """Of /readyz; 0 while nobody listens."""
        try:
            async with self.http.get(f"{self.url}/readyz") as response:
                return response.status
        except aiohttp.ClientError:
            return 0

    async def ready(self, patience_s: float = PATIENCE_S) -> None:
        for _ in range(int(patience_s / 0.05)):
            if await self.status() == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.log())

    async def hangs(self) -> None:
        """Wait until the model has told nothing for a while."""
        silent, figure = 0.0, re.compile(r"^depthlive_engine_silent_seconds (.+)$", re.MULTILINE)
        while silent < 1.0:
            async with self.http.get(f"{self.url}/metrics") as response:
                found = figure.search(await response.text())
            silent = float(found[1]) if found else 0.0

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def own_process(
    folder: Path,
    port: int,
    *,
    module: str = "own_process",
    patience_s: float = PATIENCE_S,
    **settings: object,
) -> AsyncIterator[OwnProcess]:
    """Ready; killed at the end if it is still there."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    flags += [f"--port={port}", f"--recordings-dir={folder / 'recordings'}"]
    with (folder / "log").open("ab", buffering=0) as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"tests.server.{module}", "serve", *flags),
            cwd=ROOT,
            stderr=log,
            env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        )
        async with aiohttp.ClientSession() as http:
            server = OwnProcess(process, folder / "log", f"http://127.0.0.1:{port}", http)
            try:
                await server.ready(patience_s)
                yield server
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def record(client: MediaClient) -> None:
    await client.live()
    await client.ask("record.start", "r")
    await client.message("applied", id="r")
    count = len(client.pictures)
    await until(lambda: len(client.pictures) > count + 30, "pictures to record")


@processes
@pytest.mark.parametrize(("prompt", "words"), [("exit", "thread has ended"), ("hang", "has not answered")])
async def test_law_a_lost_model_begins_again_in_a_fresh_process_of_the_same_number(tmp_path, prompt, words):
    """Clients hear why, recordings are kept, nobody is let in meanwhile, and then all is as at first."""
    async with own_process(tmp_path, free_port(), engine_timeout=3) as server:
        async with media_client(server) as client:
            await record(client)
            await client.ask("prompt.set", "1", text=prompt)
            told = (await client.message("error", code="internal"))["message"]
            assert words in told and told.endswith(", the server starts again")
            assert (await client.message("state", state="failed"))["restarts"]
            assert await server.status() in (0, 503)
            await client.closed()
        await until(lambda: server.log().count("Serving on") == 2, "it begins again")
        await server.ready()
        assert server.process.returncode is None
        async with media_client(server) as client:
            await client.live()
        server.process.terminate()
        assert await server.ended() == 0
    (movie,) = (tmp_path / "recordings").glob("*/*.mp4")
    assert playing_seconds(movie)


@processes
@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
async def test_law_a_kernel_that_never_ends_is_left_behind_with_its_process(tmp_path):
    """And its memory: the fresh process has the GPU to itself, though the kernel would still be at work."""
    start_s = 150.0  # with nothing compiled before
    settings: dict[str, Any] = {
        "module": "own_gpu_process",
        "patience_s": start_s,
        "device": "cuda",
        "engine_timeout": 15,
    }
    async with own_process(tmp_path, free_port(), **settings) as server:
        async with media_client(server) as client:
            await client.live()
            free, _ = torch.cuda.mem_get_info()
            await client.ask("prompt.set", "1", text="hang")
            assert "has not answered" in (await client.message("error", code="internal"))["message"]
            assert (await client.message("state", state="failed"))["restarts"]
            await client.closed()
        await until(lambda: server.log().count("Serving on") == 2, "it begins again")
        await server.ready(start_s)
        async with media_client(server) as client:
            await client.live()
            assert torch.cuda.mem_get_info()[0] > free - 2**28, "a second model is not there"
        assert server.process.returncode is None
        server.process.terminate()
        assert await server.ended() == 0


@processes
async def test_law_who_wants_no_restart_has_a_server_that_stays_and_takes_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHLIVE_RESTART", "false")
    async with own_process(tmp_path, free_port()) as server, media_client(server) as client:
        await client.live()
        await client.ask("prompt.set", "1", text="exit")
        told = (await client.message("error", code="internal"))["message"]
        assert told.endswith(", start the server again")
        assert await server.status() == 503
        assert "starts again" not in server.log()


@processes
async def test_law_sigterm_tells_clients_and_keeps_recordings_though_the_model_hangs(tmp_path):
    async with own_process(tmp_path, free_port(), engine_timeout=600) as server:
        async with media_client(server) as client:
            await record(client)
            await client.ask("prompt.set", "1", text="hang")
            await server.hangs()
            server.process.terminate()
            assert await client.closed() == 1000
        assert await server.ended() == 0, "though a thread of its own never ends"
        assert "does not end; leaving it behind" in server.log()
    (movie,) = (tmp_path / "recordings").glob("*/*.mp4")
    assert playing_seconds(movie)


@processes
async def test_law_a_killed_server_begins_again_at_once_with_what_was_recorded(tmp_path):
    port = free_port()
    async with own_process(tmp_path, port) as server:
        async with media_client(server) as client:
            await record(client)
            parts = tmp_path.glob
            await until(lambda: any(map(playing_seconds, parts("recordings/*/*.part"))), "a file that plays")
            server.process.kill()
            await client.closed()
        assert await server.ended() == -signal.SIGKILL
    async with own_process(tmp_path, port) as server:
        async with media_client(server) as client:
            await client.live()
    (movie,) = (tmp_path / "recordings").glob("*/*.mp4")
    assert playing_seconds(movie)


def lost_engine(ready_at: float) -> Any:
    engine = SimpleNamespace(is_lost=False, ready_at=ready_at, listeners=[])
    engine.subscribe = lambda listener: engine.listeners.append(listener) or (lambda: None)
    return engine


@pytest.mark.virtual_time
@pytest.mark.parametrize(("age", "wait"), [(0.0, PERIOD_S), (10.0, PERIOD_S - 10), (1e6, 1.0)])
async def test_law_a_model_that_is_lost_again_and_again_is_started_once_a_minute(age, wait):
    loop = asyncio.get_running_loop()
    engine, stopped = lost_engine(loop.time() - age), asyncio.Event()
    waiting = asyncio.create_task(stopped_or_lost(stopped, engine, restarts=True))
    await asyncio.sleep(0)
    began = loop.time()
    engine.is_lost = True
    for listener in engine.listeners:
        listener()
    assert await waiting is True
    assert loop.time() - began == pytest.approx(wait)


@pytest.mark.virtual_time
async def test_a_signal_comes_before_a_restart_that_is_not_due_yet():
    engine, stopped = lost_engine(asyncio.get_running_loop().time()), asyncio.Event()
    waiting = asyncio.create_task(stopped_or_lost(stopped, engine, restarts=True))
    await asyncio.sleep(0)
    engine.is_lost = True
    engine.listeners[0]()
    await asyncio.sleep(1)
    stopped.set()
    assert await waiting is False and End.LOST is not End.STOPPED
