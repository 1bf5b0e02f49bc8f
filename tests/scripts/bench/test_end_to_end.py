"""Part by part within a limit: what hangs is ended, what is left out named, what was measured on disk."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scripts.bench import end_to_end
from scripts.bench.end_to_end import DEFAULT_ORDER, Name, Part, RunPlan, main, measure, parts_of
from scripts.bench.figures.end_to_end_report import COLUMNS, goals_of, sessions_of, table
from scripts.bench.servers import launch
from tests.scripts.bench.processes import is_alive, wait_until

FIGURES = dict.fromkeys(COLUMNS, 0.0) | {"fps": 23.4, "glass_to_glass_p50_ms": 700.0}
REPORT = {"figures": FIGURES, "floor": None, "switches": None}
REPORTS = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({json.dumps(REPORT)!r})"
HANGS = "import time; print('half of it'); time.sleep(3600)"
STOPS = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(3600)"
BREAKS = "raise SystemExit('no picture came')"
LONG_S = 3600.0  # limits that no busy machine misses
FAST, SLOW = ("--speed", "fast"), ("--speed", "exact")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    """Fake servers, and clients that are the Python code in their part's first argument."""

    def command(part: Part, address: str, file: Path, camera: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", part.arguments[0], str(file)]

    fake = [sys.executable, "-m", "tests.scripts.bench.fake_server"]
    monkeypatch.setattr(launch, "module_command", lambda module: fake)
    monkeypatch.setattr(launch, "HURRY_LIMIT_S", 0.2)
    monkeypatch.setattr(launch, "STOP_LIMIT_S", 1.0)
    monkeypatch.setattr(end_to_end, "client_command", command)
    monkeypatch.setattr(end_to_end, "SLACK_S", 1.0)
    return RunPlan(
        out=tmp_path,
        server=(),
        camera=(),
        patience_s=0.0,
        start_limit_s=LONG_S,
        cache=tmp_path / "cache",
        deadline=time.monotonic() + LONG_S,
    )


def part(code: str, flags: tuple[str, ...] = FAST, **more: Any) -> Part:
    return Part(flags=flags, module="client", arguments=(code,), **{"planned_s": LONG_S / 10} | more)


def on_disk(plan: RunPlan, name: str) -> dict[str, Any]:
    return json.loads((plan.out / f"{name}.json").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hanging_part_is_ended_with_its_server_and_all_that_started_and_the_next_part_runs(
    plan: RunPlan,
) -> None:
    hangs = part(HANGS, (*FAST, "--stubborn"), planned_s=0.0)
    hung, done = measure({Name.fast: hangs, Name.exact: part(REPORTS, SLOW)}, plan)
    assert (hung["status"], done["status"]) == ("ended", "done")
    assert "still running after 1 s" in hung["why"]
    for log in ("server-fast.log", "server-exact.log"):
        pids = [int(pid) for pid in (plan.out / log).read_text().splitlines()[0].split()]
        assert len(pids) == 2
        assert wait_until(lambda pids=pids: not any(map(is_alive, pids)))


def test_the_server_of_a_part_that_went_wrong_serves_no_other(plan: RunPlan) -> None:
    records = measure({Name.fast: part(BREAKS), Name.two: part(REPORTS)}, plan)
    assert [(record["status"], record["started"]) for record in records] == [("failed", True), ("done", True)]


def test_what_a_hanging_client_said_is_kept_line_by_line(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is ended as soon as its line is here; one that it keeps to itself is waited for in vain."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    came = threading.Event()

    def echo(text: str, **_: Any) -> None:
        if text == "half of it":
            came.set()

    def timer(limit_s: float, end: Callable[[], None]) -> threading.Thread:
        waiting = threading.Thread(target=lambda: (came.wait(20), end()), daemon=True)
        waiting.cancel = lambda: None  # type: ignore[attr-defined]
        return waiting

    monkeypatch.setattr(end_to_end.typer, "echo", echo)
    monkeypatch.setattr(end_to_end.threading, "Timer", timer)
    measure({Name.fast: part(HANGS)}, plan)
    assert on_disk(plan, "fast")["said"] == ["half of it"]


def test_a_part_that_does_not_fit_is_skipped_and_named(plan: RunPlan) -> None:
    skipped, done = measure({Name.two: part(REPORTS, planned_s=10 * LONG_S), Name.fast: part(REPORTS)}, plan)
    assert (skipped["status"], done["status"]) == ("skipped", "done")
    assert on_disk(plan, "two")["status"] == "skipped"
    (line,) = [line for line in (plan.out / "table.txt").read_text().splitlines() if line.startswith("two")]
    assert "skipped: needs 36000 s" in line and "s are left" in line


def test_a_start_counts_for_whether_a_part_fits(plan: RunPlan) -> None:
    servers = end_to_end.Servers(plan)
    servers.start_s = LONG_S
    record = end_to_end._blank("fast", 0.0)
    assert end_to_end._fill(record, part(REPORTS), plan, servers, end_to_end.Stop()) is None
    assert record["status"] == "skipped"


def test_figures_are_on_disk_before_the_next_part_starts(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], Any]] = []
    usual = end_to_end.Servers.ready

    def ready(self: end_to_end.Servers, name: str, part: Part) -> str:
        if name == "two":
            short = on_disk(plan, "end_to_end")
            seen.append(([one["part"] for one in short["parts"]], on_disk(plan, "fast")["report"]))
            assert "fast" in (plan.out / "table.txt").read_text()
        return usual(self, name, part)

    monkeypatch.setattr(end_to_end.Servers, "ready", ready)
    records = measure({Name.fast: part(REPORTS), Name.two: part(REPORTS)}, plan)
    assert [record["status"] for record in records] == ["done", "done"]
    assert seen == [(["fast"], REPORT)]


def test_a_signal_to_stop_leaves_what_is_there_and_names_the_rest(plan: RunPlan) -> None:
    usual = signal.getsignal(signal.SIGTERM)
    parts = {name: part(code) for name, code in zip(list(Name)[:3], (REPORTS, STOPS, REPORTS), strict=True)}
    records = measure(parts, plan)
    assert [record["status"] for record in records] == ["done", "interrupted", "skipped"]
    kept = [(one["part"], one["status"]) for one in on_disk(plan, "end_to_end")["parts"]]
    assert kept == [(one["part"], one["status"]) for one in records]
    assert on_disk(plan, "fast")["report"] == REPORT
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_signal_while_figures_are_written_waits_until_they_are(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = end_to_end.keep

    def keep(records: Sequence[dict[str, Any]], plan: RunPlan) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        usual(records, plan)

    monkeypatch.setattr(end_to_end, "keep", keep)
    records = measure({Name.fast: part(REPORTS), Name.two: part(REPORTS)}, plan)
    assert [record["status"] for record in records] == ["done", "skipped"]
    assert on_disk(plan, "fast")["report"] == REPORT


def test_a_server_that_cannot_get_ready_is_given_up_at_once(plan: RunPlan) -> None:
    failed, done = measure(
        {Name.fast: part(REPORTS, (*FAST, "--fail")), Name.exact: part(REPORTS, SLOW)}, plan
    )
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert "cannot load the model: no such file" in failed["why"]
    assert failed["took_s"] < plan.start_limit_s / 10
    assert "cannot load the model" in failed["server"]["phases_s"]


def test_a_client_without_figures_fails_its_part_with_its_last_words(plan: RunPlan) -> None:
    (failed,) = measure({Name.fast: part(BREAKS)}, plan)
    assert (failed["status"], "no picture came" in failed["why"]) == ("failed", True)


def test_a_server_goes_on_while_its_flags_stay_the_same(plan: RunPlan) -> None:
    parts = {
        Name.fast: part(REPORTS),
        Name.two: part(REPORTS),
        Name.warm: Part(flags=FAST, is_fresh=True),
        Name.exact: part(REPORTS, SLOW),
    }
    records = measure(parts, plan)
    assert [record["status"] for record in records] == ["done"] * 4
    assert [record["started"] for record in records] == [True, False, True, True]
    logs = [record["server"]["log"] for record in records]
    assert logs == ["server-fast.log", "server-fast.log", "server-warm.log", "server-exact.log"]
    assert records[0]["server"]["places"] == 3


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0, 0, "not used"), (0, 7, "cold"), (7, 7, "warm"), (7, 9, "warm, 2 files added")],
)
def test_the_cache_is_cold_when_it_was_empty(before: int, after: int, words: str) -> None:
    assert end_to_end._cache_state(before, after) == words


def test_parts_come_in_the_order_given_else_by_importance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[list[str]] = []

    def measured(parts: dict[Name, Part], plan: RunPlan) -> list[dict[str, Any]]:
        orders.append(list(parts))
        assert "--random-weights" in plan.server and plan.server[-2:] == ("--depth", "edges")
        return [{"status": "done"}, {"status": "skipped"}]

    monkeypatch.setattr(end_to_end, "measure", measured)
    app = typer.Typer()
    app.command()(main)
    shared = ["--out", str(tmp_path), "--random-weights", "--server-args", "--depth edges"]
    for given in ([], ["--part", "exact", "--part", "fast"]):
        assert CliRunner().invoke(app, [*shared, *given]).exit_code == 1, "a part was skipped"
    assert orders == [list(DEFAULT_ORDER), ["exact", "fast"]]
    assert DEFAULT_ORDER == ("fast", "warm", "two", "switch", "exact", "admission", "four")


def test_only_admission_may_refuse_among_the_shared_parts() -> None:
    parts = parts_of(60, 20, 15, 8)
    assert set(parts) == set(Name)
    shared = [name for name, one in parts.items() if one.module == "scripts.bench.sessions"]
    assert [name for name in shared if "--min-fps" not in parts[name].flags] == [Name.admission]
    assert parts[Name.four].planned_s == 15 + end_to_end.LEAD_S + 3 * 0.5


def record(name: str, report: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    sessions = sessions_of(report)
    made = {"status": "done", "sessions": sessions, "goals": goals_of(name, sessions), "report": report}
    return end_to_end._blank(name, 0.0) | made | more


def test_goals_stand_beside_the_figures_and_say_whether_they_are_met() -> None:
    figures = FIGURES | {"glass_to_glass_p95_ms": 1200.0, "freezes": 0, "slope_ms_per_minute": 1.04}
    lines = table([record("fast", REPORT | {"figures": figures})]).splitlines()
    for cell in ("700 <= 750 ", "1200 > 1000! ", "0 <= 0 ", "1.0 > 1! "):
        assert cell in lines[1]
    assert goals_of("fast", [])["freezes"] == {"most": 0, "is": None, "met": None}
    assert goals_of("two", sessions_of(REPORT)) == {}


def test_each_session_of_a_part_has_its_line() -> None:
    switches = {"applied": 7, "sent": 8, "p50_ms": 812.0}
    outcomes = [
        {"report": REPORT | {"switches": switches}, "refused": None, "failed": None},
        {"report": None, "refused": "503: full", "failed": None},
        {"report": None, "refused": None, "failed": "it said nothing"},
    ]
    lines = table([record("two", {"outcomes": outcomes, "share": 0.5})]).splitlines()
    assert "23.4" in lines[1] and lines[1].endswith(
        "slowest over fastest 0.50; switches shown 7 of 8, p50 812 ms"
    )
    assert lines[2].startswith("two 2") and lines[2].endswith("refused (503: full)")
    assert lines[3].endswith("failed: it said nothing")
