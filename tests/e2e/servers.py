"""Servers for the end-to-end tests: the real one as a process of its own, or the application around a fake
engine."""

import asyncio
import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aioice.ice
import pytest

from server.settings import load_settings
from tests.e2e.loopback_server import only_loopback
from tests.server.cluster.standing_in import Cluster
from tests.server.fakes import FakeEngineModule
from tests.server.running import running_server

ROOT = Path(__file__).resolve().parents[2]
READY_LIMIT_S = 600.0
END_LIMIT_S = 60.0
ANSWER_LIMIT_S = 60.0
PEER_TIMEOUT_S = 45.0  # of the server: by it a place is freed that nobody gave back


@dataclass(frozen=True)
class Server:
    """A running server and its answers."""

    url: str
    token: str = ""  # where it asks for one

    def info(self) -> dict[str, Any]:
        return json.loads(self.get("/api/info"))

    def gauge(self, name: str) -> float:
        """One value of /metrics."""
        (line,) = [line for line in self.get("/metrics").splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def wait_free(self, others: int = 0) -> None:
        """Until no more than so many sessions are left."""
        end = time.monotonic() + PEER_TIMEOUT_S + END_LIMIT_S
        while (sessions := self.info()["sessions"]) > others:
            assert time.monotonic() < end, (
                f"{sessions} sessions are left, of which {others} were there before"
            )
            time.sleep(0.05)

    def get(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as response:
            return response.read().decode()


@contextmanager
def server_process(log: Path, *flags: str, command: str = "tests.e2e.loopback_server") -> Iterator[Server]:
    """The real server with its default model, or with what `command` has, ready; what it says goes to
    `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process_of = [sys.executable, "-m", *command.split(), "--port", str(port), *flags]
    with (
        log.open("wb") as output,
        subprocess.Popen(process_of, cwd=ROOT, stdout=output, stderr=output) as process,
    ):
        try:
            yield _wait_ready(Server(f"http://127.0.0.1:{port}"), process, log)
        finally:
            process.terminate()
            try:
                assert process.wait(END_LIMIT_S) == 0, (
                    f"the server did not end cleanly:\n{log.read_text()[-4000:]}"
                )
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> Server:
    reason = ""
    end = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            server.get("/readyz")
            return server
        except urllib.error.HTTPError as error:
            reason = error.read().decode()
            error.close()
            if "failed" in reason:
                break
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    pytest.fail(f"the server is not ready: {reason}\n{log.read_text()[-4000:]}")


@contextmanager
def fake_engine_server(**settings: Any) -> Iterator[Server]:
    """The application around a fake engine, in a thread: for what the model has no part in."""
    ready: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        over = asyncio.Event()
        async with running_server(load_settings(settings), FakeEngineModule()) as server:
            ready.put((server.url, asyncio.get_running_loop(), over))
            await over.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", only_loopback)
        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        url, loop, over = ready.get(timeout=ANSWER_LIMIT_S)
        try:
            yield Server(url)
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(ANSWER_LIMIT_S)


@dataclass(frozen=True)
class ClusterServer(Server):
    """A gateway and its workers, in a thread."""

    cluster: Cluster = field(kw_only=True)
    loop: asyncio.AbstractEventLoop = field(kw_only=True)

    def ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of work on the cluster's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(ANSWER_LIMIT_S)


@contextmanager
def fake_engine_cluster(workers: int, **settings: Any) -> Iterator[ClusterServer]:
    """As `fake_engine_server`, with so many workers behind a gateway."""
    ready: queue.Queue[tuple[Cluster, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        over = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            cluster = await Cluster(stack, **settings).start()
            for number in range(workers):
                await cluster.begin(f"fake.{number}")
            ready.put((cluster, asyncio.get_running_loop(), over))
            await over.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", only_loopback)
        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        cluster, loop, over = ready.get(timeout=ANSWER_LIMIT_S)
        try:
            yield ClusterServer(cluster.url, cluster=cluster, loop=loop)
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(ANSWER_LIMIT_S)
