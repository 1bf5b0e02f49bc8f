"""Trial of a cluster: its parts are killed while clients stream, and nobody may notice for long.

python -m scripts.cluster_trial --minutes 10 --clients 5 --pages 1 --json out/cluster.json
python -m scripts.cluster_trial --engine built-in --workers 2 --clients 1 --pages 1

Ray runs on this machine. The engine sleeps as long as a GPU works unless --engine built-in is given: the real
model, with pictures of 112x64 in one step. Clients are headless but for --pages, which are the real page in
Chromium. The exit status is 1 where a client was without a picture for more than 10 s, lost its session, or
was served twice.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from scripts.bench.clients.chromium import chromium
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.numbered_clip import write_clip
from scripts.bench.clients.returning import ReturningClient, Visit
from scripts.bench.clients.returning_page import ReturningPage
from scripts.bench.servers.small_cluster import Engine
from scripts.json_file import JsonFile, write_json

ROOT = Path(__file__).resolve().parents[1]
READY_LIMIT_S = 300.0
END_LIMIT_S = 60.0
MOST_S = 10.0  # without a picture
LOOK_S = 1.0
SETTLED_S = 1.0  # after a fault: pictures that were on their way have come
BACK_LIMIT_S = 120.0
CAMERA = (160, 120, 10.0)
CLIP = (160, 120)  # of a page's camera, at 30 frames a second


@dataclass(slots=True)
class Trial:
    """Everything that one run has seen. Times are seconds since the clients began."""

    done: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    visits: list[Visit] = field(default_factory=list[Visit])
    gaps: list[float] = field(default_factory=list[float])
    pages: int = 0  # of the clients, the last ones
    model: dict[str, Any] = field(default_factory=dict[str, Any])  # as the cluster tells it
    served_twice: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """Sessions that a client had, and could not go on with."""
        return sum(max(0, len(visit.sessions) - 1) for visit in self.visits)

    def faults(self) -> list[str]:
        """In words; none where all is well."""
        found = [f"a client had no picture for {gap:.1f} s" for gap in self.gaps if gap > MOST_S]
        if self.lost:
            found.append(f"{self.lost} sessions were lost")
        if self.served_twice:
            found.append(f"served by two workers: {', '.join(self.served_twice)}")
        return found


class ClusterProcess:
    """The cluster in a process of its own, which is told what is to go wrong."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self._process = process
        self._telling = asyncio.Lock()

    async def tell(self, line: str) -> Any:
        """What it has answered. Raises ConnectionError where it could not do it, or has ended."""
        assert self._process.stdin is not None
        async with self._telling:
            self._process.stdin.write(f"{line}\n".encode())
            await self._process.stdin.drain()
            answer = await self.answer()
        if "error" in answer:
            raise ConnectionError(f"{line}: {answer['error']}")
        return answer["done"]

    async def answer(self) -> dict[str, Any]:
        """The next line that is one: libraries may write others."""
        assert self._process.stdout is not None
        while raw := await self._process.stdout.readline():
            if raw.startswith(b"{"):
                return json.loads(raw)
        raise ConnectionError("the cluster has ended")

    async def ready(self, count: int) -> None:
        """Until so many workers let somebody in."""
        async with asyncio.timeout(READY_LIMIT_S):
            while sum(worker["is_ready"] for worker in await self.tell("workers")) < count:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            async with aiohttp.ClientSession() as http:
                while not await _is_ready(http, self.url):  # noqa: ASYNC110 -- a process cannot set an event
                    await asyncio.sleep(LOOK_S)


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def told_model(url: str) -> dict[str, Any]:
    """What serves there, in its own words."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/api/info") as response:
        return (await response.json())["model"]


@contextlib.asynccontextmanager
async def cluster_process(
    workers: int, engine: Engine, log: Path | None = None, *more: str
) -> AsyncIterator[ClusterProcess]:
    """A cluster whose workers are ready; nothing of it is left, least of all when the block fails. `more`:
    flags of scripts.bench.servers.small_cluster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--port", str(port), "--workers", str(workers), "--engine", engine, *more]
    with log.open("wb") if log else tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scripts.bench.servers.small_cluster", *flags, cwd=ROOT, stderr=output,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
            limit=1 << 20,
        )  # fmt: skip
        try:
            cluster = ClusterProcess(process, f"http://127.0.0.1:{port}")
            try:
                async with asyncio.timeout(READY_LIMIT_S):
                    await cluster.answer()
                await cluster.ready(workers)
            except (ConnectionError, TimeoutError):
                output.seek(0)
                sys.stderr.write(output.read().decode(errors="replace")[-6000:] if not log else "")
                raise
            yield cluster
            assert process.stdin is not None
            process.stdin.close()
            await asyncio.wait_for(process.wait(), END_LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def go_wrong(cluster: ClusterProcess, trial: Trial, began: float, seconds: float, workers: int) -> None:
    """One fault after the other, each once its time has come and all have pictures after the one before."""

    async def at(share: float, line: str, to_busiest: bool = False) -> None:
        await asyncio.sleep(began + share * seconds - time.monotonic())
        if to_busiest:
            line += f" {busiest(await cluster.tell('workers'), trial.visits[-trial.pages or None :])}"
        trial.done.append((round(time.monotonic() - began, 1), line))
        await cluster.tell(line)
        await all_have_pictures(trial, time.monotonic() + SETTLED_S)

    await all_have_pictures(trial, began)
    async with asyncio.timeout(READY_LIMIT_S):
        while await cluster.tell("new"):  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(LOOK_S)
    await at(0.15, "kill-worker", to_busiest=True)
    await at(0.35, "drain", to_busiest=True)
    await at(0.5, f"scale {workers}")
    await cluster.ready(workers)
    await at(0.65, "kill-gateway")
    await at(0.8, "kill-placement")
    await asyncio.sleep(began + seconds - time.monotonic())


async def all_have_pictures(trial: Trial, since: float) -> None:
    """Until each client has had one since then, or BACK_LIMIT_S: the gap tells."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BACK_LIMIT_S):
            while not all(visit.pictures and visit.pictures[-1] > since for visit in trial.visits):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)


def busiest(found: Sequence[dict[str, Any]], pages: Sequence[Visit]) -> str:
    """The worker that most pages are at; among equals the one with most sessions."""
    of_pages = {session for visit in pages for session in visit.sessions[-1:]}

    def rank(one: dict[str, Any]) -> tuple[bool, int, int]:
        return one["is_ready"], len(of_pages.intersection(one["sessions"])), len(one["sessions"])

    return max(found, key=rank)["id"]


class Doubles:
    """Sessions that two workers serve. Reports are a second old, so one that has moved is in two of them for
    a moment: what counts is that both workers report it again."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def found(self, workers: Sequence[dict[str, Any]], now: float) -> list[str]:
        """As the cluster tells of its workers at this time."""
        held: dict[str, list[float]] = {}
        for worker in workers:
            for session in worker["sessions"]:
                held.setdefault(session, []).append(now - worker["silent_s"])
        twice = {session: reported for session, reported in held.items() if len(reported) > 1}
        self._since = {session: self._since.get(session, now) for session in twice}
        return [session for session, reported in twice.items() if min(reported) > self._since[session]]


async def look(cluster: ClusterProcess, trial: Trial) -> None:
    """Whether two workers serve one session, again and again."""
    doubles = Doubles()
    while True:
        with contextlib.suppress(ConnectionError):  # its placement has just been killed
            found = doubles.found(await cluster.tell("workers"), time.monotonic())
            trial.served_twice = sorted({*trial.served_twice, *(session[:8] for session in found)})
        await asyncio.sleep(LOOK_S)


async def run(
    minutes: float,
    clients: int,
    workers: int,
    engine: Engine,
    *,
    pages: int = 0,
    seed: int = 0,
    log: Path | None = None,
) -> Trial:
    """The whole trial, of so many minutes or as long as it takes; visits of pages come last."""
    trial, seconds = Trial(pages=pages), 60 * minutes
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(cluster_process(workers, engine, log))
        trial.model = await told_model(cluster.url)
        arriving: list[ReturningClient | ReturningPage] = [
            ReturningClient(
                cluster.url,
                lambda: NumberedCamera(*CAMERA),
                proxied=number % 2 == 0,
                rng=random.Random(seed + number),
            )
            for number in range(clients)
        ]
        if pages:
            clip = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "camera.mjpeg"
            await asyncio.to_thread(write_clip, clip, *CLIP)
            browser = await stack.enter_async_context(chromium(clip, cluster.url))
            arriving += [ReturningPage(browser, cluster.url) for _ in range(pages)]
        trial.visits = [one.visit for one in arriving]
        began, over = time.monotonic(), asyncio.Event()
        looking = asyncio.create_task(look(cluster, trial))
        try:
            async with asyncio.TaskGroup() as group:
                for one in arriving:
                    group.create_task(one.stay(over))
                await go_wrong(cluster, trial, began, seconds, workers)
                trial.gaps = [visit.longest_gap(time.monotonic()) for visit in trial.visits]
                over.set()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
    for visit in trial.visits:
        visit.pictures = [round(at - began, 3) for at in visit.pictures]
        visit.losses = [round(at - began, 1) for at in visit.losses]
    return trial


def table(trial: Trial) -> str:
    """For people."""
    lines = [f"{'client':>6}{'pictures':>10}{'sessions':>10}{'losses at':>24}{'longest gap':>13}  refused"]
    for number, (visit, gap) in enumerate(zip(trial.visits, trial.gaps, strict=True)):
        losses = ", ".join(f"{at:g}" for at in visit.losses)
        refused = ", ".join(f"{count} x {status}" for status, count in sorted(visit.refusals.items()))
        counts = f"{len(visit.pictures):>10}{len(visit.sessions):>10}"
        name = number if number < len(trial.visits) - trial.pages else "page"
        lines.append(f"{name:>6}{counts}{losses:>24}{gap:>11.1f} s  {refused}")
    lines += [f"{at:>6.1f} s  {what}" for at, what in trial.done]
    lines += [f"FAULT: {fault}" for fault in trial.faults()]
    return "\n".join(lines)


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long clients stream.")] = 10.0,
    clients: Annotated[int, typer.Option(min=0, help="Headless ones.")] = 5,
    pages: Annotated[int, typer.Option(min=0, help="Pages in headless Chromium beside them.")] = 1,
    workers: Annotated[int, typer.Option(min=2)] = 3,
    engine: Annotated[
        Engine, typer.Option(help="sleeping: as long as a GPU works; or the built-in model.")
    ] = "sleeping",
    log: Annotated[Path | None, typer.Option(help="What the cluster says goes here.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Kill parts of a cluster while clients stream, and say what they saw."""
    trial = asyncio.run(run(minutes, clients, workers, engine, pages=pages, log=log))
    typer.echo(table(trial))
    record = {"minutes": minutes, "clients": clients, "pages": pages, "workers": workers, "engine": engine}
    record |= (
        {"camera": CAMERA, "clip": CLIP} | asdict(trial) | {"lost": trial.lost, "faults": trial.faults()}
    )
    write_json(json_file, record)
    if trial.faults():
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
