"""Soak of a server: sessions come, switch prompts, upload, record, leave and vanish, for as long as asked.

python -m scripts.soak --minutes 60 --sessions 2 --churn --json out/soak.json
python -m scripts.soak --minutes 30 --server-args "--model longlive-1.3b --device cuda --random-weights"

What grows is told by a straight line through all samples after the warm-up; the exit status is 1 where one
rises by more than its limit beyond doubt (two standard errors), or where a visit failed.
"""

import asyncio
import contextlib
import io
import math
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from scripts.bench.clients.control import LOOKS
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.webrtc import BenchClient
from scripts.bench.clients.websocket import BenchSocketClient
from scripts.bench.figures.latency import summarise
from scripts.bench.figures.run_record import RunRecord
from scripts.bench.servers.launch import serving
from scripts.json_file import JsonFile, write_json

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_S = 5.0
CAMERA = (320, 240, 15.0)  # small: codecs of the clients run on the server's own cores
VISIT_S = (6.0, 25.0)
VANISHING = 0.15  # share of the visits that end by a kill, in the middle of everything
PATIENCE_S = 120.0
FULL_S = 3.0  # to wait before asking again where all places are taken
TOGETHER_S = 60.0  # samples so close tell of the same visits: only their mean is independent
# With churn all leave now and then: what the server holds while nobody is there is what it has kept of them,
# and tells a rise of a megabyte that the coming and going of sessions hides.
ROUND_S = 300.0  # from one rest to the next
REST_S = 65.0  # after the last one has left: sessions are kept for 30 s, memory is given back every 30 s

# Metrics of the server: what is drawn of it, its unit, and by how much an hour it may rise.
GROWING = {
    "process_resident_memory_bytes": ("memory", "MB", 2**20, 1.0),
    "depthlive_gpu_memory_bytes": ("GPU memory", "MB", 2**20, 1.0),
    "process_open_fds": ("handles", "", 1, 1.0),
    "depthlive_threads": ("threads", "", 1, 1.0),
    "depthlive_tasks": ("tasks", "", 1, 1.0),
}
SESSIONS = "depthlive_sessions"
LATENCY_LIMIT_MS = 60.0  # by how much an hour the p95 of the visits' pictures may rise: 1 ms a minute


@dataclass(frozen=True, slots=True)
class Trend:
    """One quantity over time: where it began and ended, and its rise an hour with the standard error."""

    name: str
    unit: str
    samples: int
    first: float  # medians of the first tenth of the samples and of the last
    last: float
    rise: float | None  # an hour; None of fewer than three samples
    error: float | None
    limit: float

    @property
    def is_fine(self) -> bool:
        return self.rise is None or self.error is None or self.rise - 2 * self.error <= self.limit


def trend(name: str, unit: str, at_s: Sequence[float], values: Sequence[float], limit: float) -> Trend:
    """Least squares through `values` at times in seconds. Raises ValueError without any."""
    if not values:
        raise ValueError(f"{name}: expected samples, got none")
    tenth = max(1, len(values) // 10)
    first, last = statistics.median(values[:tenth]), statistics.median(values[-tenth:])
    rise = error = None
    if len(values) > 2 and len(set(at_s)) > 1:
        hours = [at / 3600 for at in at_s]
        line = statistics.linear_regression(hours, values)
        middle = statistics.fmean(hours)
        spread = sum((hour - middle) ** 2 for hour in hours)
        left = sum(
            (value - line.intercept - line.slope * hour) ** 2
            for hour, value in zip(hours, values, strict=True)
        )
        rise, error = line.slope, math.sqrt(left / (len(values) - 2) / spread)
    return Trend(name, unit, len(values), first, last, rise, error, limit)


def means(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Times in seconds and values, one of each TOGETHER_S that has samples."""
    together: dict[int, list[tuple[float, float]]] = {}
    for at, value in samples:
        together.setdefault(int(at // TOGETHER_S), []).append((at, value))
    return [
        (statistics.fmean(at for at, _ in some), statistics.fmean(value for _, value in some))
        for some in together.values()
    ]


@dataclass(slots=True)
class Soak:
    """Everything that one run has seen. Times are seconds since its start."""

    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)  # of each visit: its end, p95 in ms
    at_rest: list[tuple[float, dict[str, float]]] = field(default_factory=list)  # while nobody is there
    visits: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list)

    def trends(self, warm_up_s: float) -> list[Trend]:
        """Of all that was sampled, without the first `warm_up_s`."""
        found: list[Trend] = []
        busy = [(at, seen) for at, seen in self.samples if seen.get(SESSIONS) != 0]
        for when, samples in (("", busy), (" at rest", self.at_rest)):
            for metric, (name, unit, scale, limit) in GROWING.items():
                kept = [
                    (at, seen[metric] / scale) for at, seen in samples if at >= warm_up_s and metric in seen
                ]
                if kept:
                    found.append(trend(name + when, unit, *zip(*means(kept), strict=True), limit=limit))
        late = [(at, value) for at, value in self.latencies if at >= warm_up_s]
        if late:
            found.append(trend("p95 of a visit", "ms", *zip(*late, strict=True), limit=LATENCY_LIMIT_MS))
        return found


class Visitor:
    """One place of those that are kept busy: visit after visit until time is over."""

    def __init__(self, url: str, soak: Soak, began: float, rng: random.Random, *, churn: bool) -> None:
        self._url, self._soak, self._began, self._rng = url, soak, began, rng
        self._churn = churn

    async def stay(self, until: float) -> None:
        """Visit until `until` on the monotonic clock."""
        while (left := until - time.monotonic()) > VISIT_S[0]:
            seconds = min(left, self._rng.uniform(*VISIT_S)) if self._churn else left
            try:
                if self._churn and self._rng.random() < VANISHING:
                    await self._vanish(seconds)
                    self._soak.visits["vanished"] += 1
                else:
                    await self._visit(seconds)
            except (OSError, ConnectionError, TimeoutError, aiohttp.ClientError) as error:
                if "503)" in str(error):  # one that vanished holds its place for a while
                    self._soak.visits["found it full"] += 1
                    await asyncio.sleep(FULL_S)
                    continue
                self._soak.failures.append(f"{time.monotonic() - self._began:.0f} s: {error!r}")

    async def _visit(self, seconds: float) -> None:
        by_socket = self._rng.random() < 0.4
        camera = NumberedCamera(*CAMERA)
        client = BenchSocketClient(self._url, camera) if by_socket else BenchClient(self._url, camera)
        prompts = self._rng.sample(LOOKS, 2)
        busy = asyncio.create_task(self._keep_busy(client.recording, seconds))
        try:
            record = await client.run(seconds, prompts, PATIENCE_S)
            await busy
        finally:
            busy.cancel()
        self._soak.visits["by WebSocket" if by_socket else "by WebRTC"] += 1
        self._soak.failures += record.errors
        if (p95 := summarise(record.arrivals, record.offered).glass_to_glass_p95_ms) is not None:
            self._soak.latencies.append((time.monotonic() - self._began, p95))

    async def _keep_busy(self, record: RunRecord, seconds: float) -> None:
        """Upload a picture, record a while, take the recording and a snapshot."""
        while record.session is None or not any(a.is_generated for a in record.arrivals[-1:]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        base = f"{self._url}/sessions/{record.session}"
        async with aiohttp.ClientSession() as http:
            await _ok(
                http.post(f"{base}/images", data=_picture(self._rng), headers={"Content-Type": "image/png"})
            )
            await _ok(http.get(f"{base}/snapshot"))
            for kind in ("record.start", "record.stop"):
                command = {"type": kind, "id": f"soak-{kind}"}
                await _ok(http.post(f"{base}/commands", json=command))
                await asyncio.sleep(0.4 * seconds if kind == "record.start" else 0)
        self._soak.visits["recorded"] += 1

    async def _vanish(self, seconds: float) -> None:
        """A client in a process of its own, killed in the middle."""
        command = ["-m", "scripts.bench.latency", "--url", self._url, "--no-floor", "--steady"]
        more = ["--seconds", "600", "--size", f"{CAMERA[0]}x{CAMERA[1]}", "--fps", f"{CAMERA[2]:g}"]
        way = ["--transport", self._rng.choice(["whip", "ws"])]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, *more, *way, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _ok(request: Any) -> None:
    """Raises ConnectionError where the answer is none of success."""
    async with request as response:
        if response.status >= 400:
            raise ConnectionError(f"{response.url.path}: {response.status} {(await response.text())[:200]}")
        await response.read()


def _picture(rng: random.Random) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (256, 144), tuple(rng.randrange(256) for _ in range(3))).save(data, "PNG")
    return data.getvalue()


async def measure(http: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """What the server says of itself now."""
    async with http.get(f"{url}/metrics") as response:
        response.raise_for_status()
        text = await response.text()
    return {
        one.name: one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name in GROWING or one.name == SESSIONS
    }


async def sample(url: str, soak: Soak, began: float) -> None:
    """Note the server's metrics, for ever."""
    async with aiohttp.ClientSession() as http:
        while True:
            soak.samples.append((time.monotonic() - began, await measure(http, url)))
            await asyncio.sleep(SAMPLE_S)


async def rest(url: str, soak: Soak, began: float) -> None:
    """Note what the server holds once nobody is there and it has had time to give back. Raises TimeoutError
    if somebody never leaves."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
        while (await measure(http, url))[SESSIONS]:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(1.0)
    await asyncio.sleep(REST_S)
    async with aiohttp.ClientSession() as http:
        soak.at_rest.append((time.monotonic() - began, await measure(http, url)))


async def run(url: str, minutes: float, sessions: int, *, churn: bool, seed: int) -> Soak:
    """Keep so many places of a ready server busy for so long."""
    soak, began = Soak(), time.monotonic()
    end = began + 60 * minutes
    visitors = [
        Visitor(url, soak, began, random.Random(seed + number), churn=churn) for number in range(sessions)
    ]
    sampling = asyncio.create_task(sample(url, soak, began))
    try:
        while (now := time.monotonic()) < end:
            until = min(end, now + ROUND_S) if churn else end
            async with asyncio.TaskGroup() as group:
                for visitor in visitors:
                    group.create_task(visitor.stay(until))
            if not churn or end - until < VISIT_S[0]:  # a last rest would tell of the end, not of a while
                break
            await rest(url, soak, began)
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
    if not sampling.cancelled() and (error := sampling.exception()):
        soak.failures.append(f"/metrics: {error!r}")
    return soak


def table(soak: Soak, trends: Sequence[Trend]) -> str:
    """Visits, what rose, and what failed, for people."""
    lines = ["visits: " + (", ".join(f"{count} {kind}" for kind, count in soak.visits.items()) or "none")]
    lines.append(f"{'':16}{'samples':>9}{'first':>10}{'last':>10}{'rise an hour':>24}{'limit':>9}")
    for one in trends:
        rise = "-" if one.rise is None else f"{one.rise:+.2f} +- {one.error:.2f} {one.unit}"
        verdict = "" if one.is_fine else "  RISES"
        numbers = f"{one.samples:>9}{one.first:>10.1f}{one.last:>10.1f}{rise:>24}{one.limit:>9g}"
        lines.append(f"{one.name:16}{numbers}{verdict}")
    lines += [f"failed at {failure}" for failure in soak.failures[:20]]
    return "\n".join(lines)


def main(
    url: Annotated[
        str | None, typer.Option(help="A running server, started with --stamp-source. Default: start one.")
    ] = None,
    server_args: Annotated[str, typer.Option(help="Further flags for the server started here.")] = "",
    minutes: Annotated[float, typer.Option(min=0.2, help="How long.")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Minutes that are not judged, at the start.")] = 10.0,
    sessions: Annotated[int, typer.Option(min=1, help="Places that are kept busy.")] = 2,
    churn: Annotated[
        bool, typer.Option(help="Short visits, some of which vanish; else one that stays.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of who comes when.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Keep a server busy, and say what grows."""
    with serving(url, f"--min-fps 0 --max-sessions {2 * sessions} {server_args}") as (address, _):
        soak = asyncio.run(run(address, minutes, sessions, churn=churn, seed=seed))
    trends = soak.trends(60 * warm_up)
    typer.echo(table(soak, trends))
    record = {"minutes": minutes, "warm_up": warm_up, "sessions": sessions, "churn": churn, "seed": seed}
    record |= {"trends": [asdict(one) | {"is_fine": one.is_fine} for one in trends]}
    record |= {"visits": dict(soak.visits), "failures": soak.failures}
    record |= {"samples": soak.samples, "at_rest": soak.at_rest, "latencies": soak.latencies}
    write_json(json_file, record)
    if soak.failures or not all(one.is_fine for one in trends):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
