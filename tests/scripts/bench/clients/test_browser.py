"""What the page noted becomes a run; and a real browser measures the echo server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.bench.clients import browser, frame_number
from scripts.bench.clients.browser import COLUMNS, recording_of, run_in_browser
from scripts.bench.clients.numbered_clip import FPS, write_clip
from scripts.bench.figures.latency import bitrate, summarise
from scripts.bench.servers.launch import started

LATENCY_MS = 300


def frame(number: int, shown: float, **more: Any) -> dict[str, Any]:
    strip = np.zeros((40, COLUMNS), np.uint8)
    frame_number.stamp(strip, number)
    seen = {"captured": None, "received": None, "shown": shown, "presented": number, "live": True}
    return {**seen, "row": strip[1].tolist(), **more}


def seen() -> dict[str, Any]:
    taken = [1000 + 1000 * number / FPS for number in range(60)]
    return {
        "began": 400,
        "sent": [[2000.0, 500], [2500.0, 1000]],
        "received": [],
        "input": [frame(number, time + 50, captured=time) for number, time in enumerate(taken)],
        "output": [
            frame(number, taken[number] + LATENCY_MS, received=taken[number] + 260, live=number > 10)
            for number in range(0, 40, 2)
        ],
    }


def test_latency_runs_from_the_capture_to_the_picture_on_show() -> None:
    recording = recording_of(seen(), model=None)
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.glass_to_glass_p50_ms == pytest.approx(LATENCY_MS)
    assert figures.slope_ms_per_minute == pytest.approx(0, abs=1e-6)
    assert (figures.generated, figures.passed_through) == (14, 6)  # not live yet: not counted
    assert figures.first_generated_ms == pytest.approx(1000 + 400 + LATENCY_MS - 400)


def test_what_a_web_socket_carried_has_its_time() -> None:
    recording = recording_of(seen(), model=None)
    assert recording.sent == [(2.0, 500), (2.5, 1000)]
    assert bitrate(recording.sent, 1.9, 2.5) == pytest.approx(8 * 1.5 / 0.6)
    assert bitrate(recording.received, 1.9, 2.5) is None


def test_the_page_tells_transport_from_display_and_counts_what_it_did_not_look_at() -> None:
    page = recording_of(seen(), model=None).page
    assert page["camera_to_received_p50_ms"] == pytest.approx(260)
    assert page["received_to_shown_p50_ms"] == pytest.approx(40)
    assert page["presented_fps"] == pytest.approx(FPS)
    assert page["frames_not_looked_at"] == 13


def test_a_page_that_showed_nothing_has_no_figures() -> None:
    recording = recording_of({"began": 0, "input": [], "output": [], "sent": [], "received": []}, model=None)
    assert recording.arrivals == []
    assert recording.page["presented_fps"] is None


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """One process for every way there; what a visit leaves behind has no part in the next."""
    with started("scripts.bench.servers.echo") as (address, _):
        yield address


SIZE = (320, 240)


@pytest.fixture(scope="module")
def clip_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Its 600 pictures have tests of their own."""
    write_clip(made := tmp_path_factory.mktemp("camera") / "camera.mjpeg", *SIZE)

    def copy_clip(target: Path, width: int, height: int) -> None:
        assert (width, height) == SIZE
        shutil.copyfile(made, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(browser, "write_clip", copy_clip)
        yield


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.usefixtures("clip_made_once")
@pytest.mark.parametrize("transport", ["whip", "ws"])
def test_a_browser_measures_the_echo(echo: str, transport: str) -> None:
    recording = run_in_browser(echo, SIZE, 3.0, 60.0, echo=True, query=f"transport={transport}")
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.generated > 10
    assert figures.glass_to_glass_p50_ms is not None
    assert 0 < figures.glass_to_glass_p50_ms < 5000
