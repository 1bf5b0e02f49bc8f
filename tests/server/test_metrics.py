import pytest

from server.metrics import Metrics, StreamMeter


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
