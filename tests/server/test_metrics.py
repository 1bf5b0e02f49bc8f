import asyncio
from itertools import pairwise

import pytest

from server.metrics import STALL_PERIOD_S, Metrics, StreamMeter
from tests.server.running import PATIENCE_S


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def meter(metrics):
    return StreamMeter(metrics, began=0.0)


def test_two_processes_worth_of_metrics_do_not_meet(metrics):
    metrics.sessions.set(3)
    assert b"depthlive_sessions 3.0" in metrics.render()
    assert b"depthlive_sessions 0.0" in Metrics().render()


def test_every_figure_of_a_clusters_worker_bears_its_name():
    metrics = Metrics("w.1")
    metrics.dropped.labels("camera").inc()
    metrics.follow("ready", "Whether", lambda: 1.0)
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    assert lines and all('worker="w.1"' in line for line in lines)
    assert 'depthlive_dropped_frames_total{place="camera",worker="w.1"} 1.0' in lines


def test_what_a_stream_counts_reaches_the_process(metrics, meter):
    meter.camera_frame()
    meter.chunk({"generate": 200.0, "total": 300.0}, collect=0.1)
    meter.shown(0.5, captured=0.0, made=0.4)
    meter.dropped_in_all("camera", 5)
    meter.dropped_in_all("camera", 7)
    meter.dropped_more("stale", 2)
    text = metrics.render().decode()
    assert 'depthlive_dropped_frames_total{place="camera"} 7.0' in text
    assert 'depthlive_dropped_frames_total{place="stale"} 2.0' in text
    assert "depthlive_shown_frames_total 1.0" in text
    assert (meter.camera_frames, meter.chunks, meter.shown_frames) == (1, 1, 1)
    latency = meter.latency()
    assert (latency.collect, latency.generate, latency.pace, latency.total) == (100, 200, 100, 500)
    assert meter.dropped().model_dump() == {"camera": 7, "pacing": 0, "stale": 2}


@pytest.fixture
async def watched(metrics):
    watching = asyncio.create_task(metrics.watch_loop())
    await asyncio.sleep(0)
    yield metrics
    watching.cancel()
    await asyncio.wait([watching])


def longest_stall(metrics: Metrics) -> float:
    lines = metrics.render().decode().splitlines()
    return float(next(line for line in lines if line.startswith("depthlive_loop_longest")).split()[1])


@pytest.mark.virtual_time
async def test_law_the_longest_time_in_which_the_loop_answers_nobody_is_told(watched):
    loop = asyncio.get_running_loop()
    await asyncio.sleep(10)
    assert longest_stall(watched) == pytest.approx(0, abs=1e-6)
    for stall in (0.3, 0.7, 0.1):
        loop.call_later(1.013, loop.advance, stall)  # something takes so long that is called back
        await asyncio.sleep(5)
    assert 0.7 - STALL_PERIOD_S <= longest_stall(watched) + 1e-6 <= 0.7 + 2e-6
    text = watched.render().decode()
    counts = {bound: f'stall_seconds_bucket{{le="{bound}"}} ' for bound in ("0.05", "0.2", "0.5", "+Inf")}
    within = [int(float(text.split(words)[1].split()[0])) for words in counts.values()]
    assert [after - before for before, after in pairwise(within)] == [1, 1, 1]


async def test_a_server_watches_its_loop(server):
    async def counted() -> float:
        async with server.http.get(server.url + "/metrics") as response:
            return float((await response.text()).split("depthlive_loop_stall_seconds_count ")[1].split()[0])

    for _ in range(int(PATIENCE_S / STALL_PERIOD_S)):
        if await counted():
            return
        await asyncio.sleep(STALL_PERIOD_S)
    raise AssertionError("nothing has been measured")


def test_latency_is_smoothed_and_absent_until_measured(metrics, meter):
    assert meter.latency().total is None
    meter.took("total", 0.1)
    assert meter.latency().total == 100.0
    meter.took("total", 0.2)
    assert meter.latency().total == 120.0, "a fifth of the newest"
    for _ in range(49):
        meter.took("total", 0.2)
    assert meter.latency().total == pytest.approx(200, abs=1)
    assert b'depthlive_latency_seconds_count{stage="total"} 51.0' in metrics.render()


def test_stage_must_be_one_that_the_protocol_names(meter):
    with pytest.raises(KeyError, match="lunch"):
        meter.took("lunch", 1.0)


def test_fps_forgets(meter):
    for number in range(40):
        meter.shown(number / 10, captured=0.0, made=0.0)
    assert meter.fps(3.9) == pytest.approx(10, abs=0.6)
    assert meter.fps(100.0) == 0


def test_figures_and_stats_say_what_was_measured(meter):
    meter.camera_frame()
    figures = meter.figures(2.0, state="live", chunk=3, guidance_scale=0.5, noise_scale=0.25)
    stats = meter.stats("7", 2.5, figures)
    assert (stats.id, stats.chunk, stats.guidance_scale, stats.state) == ("7", 3, 0.5, "live")
    assert (stats.camera_frames, stats.uptime_s) == (1, 2.5)
