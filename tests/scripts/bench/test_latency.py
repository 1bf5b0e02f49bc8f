"""The command around the measurement: its arguments, its words when there is nothing to report, its table."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scripts.bench import latency
from scripts.bench.figures.latency import Arrival
from scripts.bench.figures.latency_report import build_report, explain, table
from scripts.bench.figures.run_record import PromptSwitch, RunRecord
from scripts.bench.latency import Transport, main, parse_size
from server.websocket.media_frame import Kind

app = typer.Typer()
app.command()(main)

MODEL = {
    "name": "m",
    "trained": False,
    "width": 256,
    "height": 144,
    "steps": 4,
    "depth": "edges",
    "device": "cpu",
}


def recording() -> RunRecord:
    arrivals = [
        Arrival(time=10 + index / 10, sent=9.5 + index / 10, difference=60.0, is_live=True)
        for index in range(21)
    ]
    telemetry = [{"latency_ms": {"generate": generate, "depth": None}} for generate in (100.0, 300.0, 200.0)]
    switches = [
        PromptSwitch(
            "gold", acknowledged_ms=3.0, applied_ms=640.0, server_latency_ms=612.0, chunk=12, frame=141
        ),
        PromptSwitch("ice"),
    ]
    return RunRecord(offered=8.0, arrivals=arrivals, model=MODEL, telemetry=telemetry, switches=switches)


def report(*runs: RunRecord, floor: Sequence[RunRecord] = ()) -> dict[str, Any]:
    camera = {"width": 640, "height": 480, "fps": 30.0}
    return build_report(
        runs, floor, command="bench", way="test", camera=camera, server_start_s=4.2, load_before=0.5
    )


def test_size_is_two_even_numbers() -> None:
    assert parse_size("640x480") == (640, 480)


@pytest.mark.parametrize("size", ["640", "640x", "x480", "641x480", "640X480", "16x16", "640x99999", "a"])
def test_any_other_size_is_refused_with_what_was_expected(size: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected WIDTHxHEIGHT"):
        parse_size(size)


@pytest.mark.parametrize(
    "more",
    [{"prompt": ["ice"]}, {"switches": 3}],
    ids=["prompt", "switches"],
)
def test_what_a_browser_cannot_measure_is_refused_at_once(more: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="--browser"):
        main(browser=True, **more)


def test_a_steady_run_switches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Any, ...]] = []

    class Client:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        async def run(self, *arguments: Any) -> RunRecord:
            ran.append(arguments)
            return recording()

    @contextlib.contextmanager
    def there(*_: str) -> Iterator[tuple[str, float]]:
        yield "server", 1.0

    monkeypatch.setattr(latency, "BenchClient", Client)
    monkeypatch.setattr(latency, "serving", there)
    for arguments in (["--steady"], []):
        CliRunner().invoke(app, ["--no-floor", "--size=64x64", *arguments], catch_exceptions=False)
    assert [prompts for _, prompts, *_ in ran] == [(), latency.DEFAULT_PROMPTS]
    with pytest.raises(typer.BadParameter, match="--steady"):
        main(steady=True, prompt=["ice"])


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("browser", [False, True])
def test_the_floor_is_measured_over_the_same_transport(
    monkeypatch: pytest.MonkeyPatch, browser: bool, transport: Transport
) -> None:
    ran: list[tuple[str, str, bool]] = []

    def in_browser(address: str, *_: Any, query: str, echo: bool) -> RunRecord:
        ran.append((address, query.removeprefix("transport=").removesuffix("&video=jpeg"), echo))
        return recording()

    def client_of(way: str) -> Any:
        class Client:
            def __init__(self, address: str, _: Any, *, echo: bool, kind: Kind | None = None) -> None:
                assert kind == (Kind.JPEG if way == "ws" else None)
                ran.append((address, way, echo))

            async def run(self, *_: Any) -> RunRecord:
                return recording()

        return Client

    @contextlib.contextmanager
    def there(address: str) -> Iterator[tuple[str, float]]:
        yield address, 1.0

    monkeypatch.setattr(latency, "run_in_browser", in_browser)
    monkeypatch.setattr(latency, "BenchClient", client_of("whip"))
    monkeypatch.setattr(latency, "BenchSocketClient", client_of("ws"))
    monkeypatch.setattr(latency, "serving", lambda *_: there("server"))
    monkeypatch.setattr(latency, "started", lambda *_: there("echo"))
    CliRunner().invoke(
        app,
        [f"--transport={transport}", "--video=jpeg", "--size=64x64", *(["--browser"] if browser else [])],
        catch_exceptions=False,
    )
    assert ran == [("server", transport.value, False), ("echo", transport.value, True)]


def test_the_report_is_json_and_names_its_machine() -> None:
    again = json.loads(json.dumps(report(recording())))
    assert again["machine"]["cores"] >= 1
    assert again["machine"]["cpu"]
    assert again["figures"]["glass_to_glass_p50_ms"] == pytest.approx(500)
    assert again["runs"][0]["server_stages_ms"]["generate"] == 200.0
    assert again["runs"][0]["server_stages_ms"]["depth"] is None


def test_the_table_says_untrained_and_what_was_not_applied() -> None:
    text = table(report(recording()))
    assert "m (untrained), 256x144" in text
    assert "500 ms" in text
    assert "applied after 640 ms (server: 612 ms) at chunk 12, frame 141" in text
    assert "not applied before the run ended" in text


def slower(by: float) -> RunRecord:
    run = recording()
    run.arrivals = [replace(arrival, time=arrival.time + by) for arrival in run.arrivals]
    return run


def test_figures_are_the_medians_of_the_runs() -> None:
    of_three = report(recording(), slower(0.2), slower(0.9))
    assert of_three["figures"]["glass_to_glass_p50_ms"] == pytest.approx(700)
    assert [run["figures"]["glass_to_glass_p50_ms"] for run in of_three["runs"]] == pytest.approx(
        [500, 700, 1400]
    )
    assert "medians of 3 runs" in table(of_three)


def test_a_long_run_shows_its_latency_over_time() -> None:
    assert "p50 of each" not in table(report(recording()))
    run, later = recording(), slower(0.2).arrivals
    run.arrivals += [replace(a, time=a.time + 40, sent=(a.sent or 0) + 40) for a in later]
    (line,) = [line for line in table(report(run)).splitlines() if line.startswith("p50 of each 30 s")]
    assert line.split()[-3:] == ["500,", "700", "ms"]


def test_the_floor_stands_beside_the_server() -> None:
    (line,) = [line for line in table(report(slower(0.2), floor=[recording()])).splitlines() if "p50" in line]
    assert line.split() == ["glass", "to", "glass", "p50", "700", "ms", "500", "ms"]


def test_what_a_web_socket_carried_is_told_of_the_time_of_generated_pictures() -> None:
    run = recording()  # from 10 s to 12 s
    run.sent = [(9.0, 10**9), (10.5, 1000), (12.0, 1500)]
    run.received = [(11.0, 500), (13.0, 10**9)]
    (line,) = [line for line in table(report(run)).splitlines() if line.startswith("sent, received")]
    assert line.split() == ["sent,", "received", "10,", "2", "kbit/s"]


def test_a_figure_that_one_run_lacks_is_the_median_of_the_others() -> None:
    both = report(RunRecord(offered=0.0), recording())
    assert both["figures"]["glass_to_glass_p50_ms"] == pytest.approx(500)


def test_an_empty_run_still_makes_a_table() -> None:
    assert "first picture" in table(report(RunRecord(offered=0.0)))


def test_no_numbers_in_any_picture_points_at_the_flag() -> None:
    blank = Arrival(time=1.0, sent=None, difference=None, is_live=True)
    words = explain(TimeoutError(), RunRecord(offered=0.0, arrivals=[blank], states=[(0.1, "live")]), 10)
    assert "--stamp-source" in words
    assert "live" in words
