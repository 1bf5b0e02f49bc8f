"""Soak: what rises beyond doubt is told from noise, and what is not judged is left out."""

import json
import random

import pytest
import typer
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from scripts.bench.servers.launch import started
from scripts.soak import REST_S, SESSIONS, Soak, main, means, rest, table, trend

MEMORY = "process_resident_memory_bytes"
HOUR = range(0, 3600, 5)


def noisy(rise: float, noise: float) -> list[float]:
    rng = random.Random(1)
    return [100 + rise * at / 3600 + rng.gauss(0, noise) for at in HOUR]


@pytest.mark.parametrize(
    "rise, noise, is_fine",
    [
        (0.0, 0.0, True),
        (0.9, 0.0, True),
        (1.2, 0.0, False),
        (1.2, 30.0, True),
        (8.0, 3.0, False),
        (-50, 1, True),
    ],
)
def test_what_rises_by_more_than_its_limit_beyond_doubt_is_told(rise, noise, is_fine):
    found = trend("memory", "MB", list(HOUR), noisy(rise, noise), 1.0)
    assert found.is_fine is is_fine
    assert found.rise == pytest.approx(rise, abs=max(1e-6, noise))
    assert (found.samples, found.first > 50) == (len(HOUR), True)


def test_a_trend_of_nothing_is_refused_and_of_two_samples_says_nothing():
    with pytest.raises(ValueError, match="memory: expected samples"):
        trend("memory", "MB", [], [], 1.0)
    assert trend("memory", "MB", [0, 5], [1, 100], 1.0).is_fine


def test_the_warm_up_is_not_judged_and_what_a_server_does_not_tell_is_left_out():
    soak = Soak(
        samples=[(at, {"process_resident_memory_bytes": 2**20 * (at if at < 600 else 600)}) for at in HOUR]
    )
    (memory,) = soak.trends(600)
    assert memory.is_fine and memory.name == "memory" and memory.last == 600
    (memory,) = soak.trends(0)
    assert not memory.is_fine
    assert "RISES" in table(soak, [memory])


def test_samples_of_the_same_visits_count_as_one_so_that_their_wave_is_no_rise():
    def wave(
        at: float,
    ) -> float:  # the last half of the hour has more visits
        return 48.0 if (at // 60) in {5, 20, 33, 41, 45, 52, 57} else 45.0

    tasks = [(at, wave(at)) for at in HOUR]
    assert len(means(tasks)) == 60
    assert not trend("tasks", "", *zip(*tasks, strict=True), limit=0.05).is_fine
    assert trend("tasks", "", *zip(*means(tasks), strict=True), limit=0.05).is_fine


def test_a_latency_that_climbs_by_more_than_a_millisecond_a_minute_is_told():
    soak = Soak(latencies=[(at, 500 + at / 20) for at in HOUR])
    (latency,) = soak.trends(0)
    assert latency.rise == pytest.approx(180) and not latency.is_fine


def test_memory_at_rest_is_judged_by_itself_and_busy_samples_are_not_taken_at_rest():
    busy = [(float(at), {MEMORY: 2**20 * 900.0, SESSIONS: 2.0}) for at in HOUR]
    soak = Soak(
        samples=busy + [(at, {MEMORY: 2**20 * 500.0, SESSIONS: 0.0}) for at in HOUR],
        at_rest=[(at, {MEMORY: 2**20 * (500 + 3 * at / 3600)}) for at in range(0, 3600, 360)],
    )
    memory, at_rest = soak.trends(0)
    assert (memory.name, memory.first, memory.last, memory.is_fine) == ("memory", 900, 900, True)
    assert at_rest.rise == pytest.approx(3) and not at_rest.is_fine
    assert at_rest.samples == 10


async def test_memory_at_rest_is_noted_once_nobody_is_there_and_time_has_passed(monkeypatch):
    told = iter([(2, 900), (1, 800), (0, 700), (0, 600)])  # sessions, bytes

    async def metrics(request: web.Request) -> web.Response:
        sessions, memory = next(told)
        return web.Response(text=f"{SESSIONS} {sessions}\n{MEMORY} {memory}\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("scripts.soak.asyncio.sleep", sleep)
    soak = Soak()
    async with TestServer(app) as server:
        await rest(str(server.make_url("")).rstrip("/"), soak, 0.0)
    assert [seen for _, seen in soak.at_rest] == [{SESSIONS: 0, MEMORY: 600}]
    assert [seconds for seconds in slept if seconds] == [1.0, 1.0, REST_S]


@pytest.mark.slow
def test_the_shortest_soak_of_a_real_server_visits_it_and_samples_its_metrics(tmp_path):
    flags = ["--stamp-source", "--min-fps", "0", "--max-fps", "4", "--depth", "edges", "--device", "cpu"]
    file = tmp_path / "soak.json"
    with started("scripts.bench.servers.small_server", *flags) as (url, _):
        soak = typer.Typer()
        soak.command()(main)
        short = ["--minutes", "0.2", "--sessions", "1", "--no-churn", "--json", str(file)]
        result = CliRunner().invoke(soak, ["--url", url, *short])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    assert found["failures"] == [] and found["visits"]["recorded"] == 1
    assert len(found["samples"]) > 1
    for _, seen in found["samples"]:
        assert {"process_resident_memory_bytes", "process_open_fds", "depthlive_threads"} <= seen.keys()
    assert len(found["latencies"]) == 1 and found["latencies"][0][1] > 0
    assert "visits: 1 recorded, 1 by WebRTC" in result.output
