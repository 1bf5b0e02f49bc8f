"""Sessions beside each other: each outcome is told, and the shares compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scripts.bench import sessions
from scripts.bench.sessions import Outcome, fairness, main, outcome_of, table


def report(fps: float | None, switches: dict[str, Any] | None = None) -> dict[str, Any]:
    figures = dict.fromkeys(sessions.FIGURES, None) | {
        "fps": fps,
        "freezes": 2,
        "longest_gap_ms": 431.0,
    }
    return {"figures": figures, "switches": switches}


def test_what_was_written_is_the_outcome(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text(json.dumps(report(20.0)))
    assert outcome_of("a table", tmp_path / "0.json").report == report(20.0)


def test_a_refusal_is_told_from_a_failure(tmp_path: Path) -> None:
    refused = outcome_of("the server refused the offer (503): all 2 places are taken\n", tmp_path / "none")
    assert (refused.refused, refused.failed) == ("503: all 2 places are taken", None)
    failed = outcome_of("Traceback ...\nValueError: no\n", tmp_path / "none")
    assert failed.refused is None and failed.failed is not None and "ValueError: no" in failed.failed


def test_fairness_is_slowest_over_fastest() -> None:
    outcomes = [Outcome(report=report(fps)) for fps in (10.0, 20.0, 16.0)]
    assert fairness([*outcomes, Outcome(report=None, refused="503")]) == pytest.approx(0.5)
    assert fairness(outcomes[:1]) is None


def test_the_table_has_a_line_for_each_session() -> None:
    switches = {"applied": 7, "sent": 8, "p50_ms": 812.0}
    lines = table(
        [
            Outcome(report=report(19.96, switches)),
            Outcome(report=report(None)),
            Outcome(report=None, refused="503: full"),
        ]
    ).splitlines()
    assert lines[1].split() == [
        "1",
        "20.0",
        "-",
        "-",
        "-",
        "2.0",
        "431",
        "-",
        "7",
        "of",
        "8,",
        "p50",
        "812",
        "ms",
    ]
    assert lines[3].endswith("refused (503: full)")


def test_the_first_session_switches_beside_the_others_steady_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    class Popen:
        def __init__(self, command: list[str], **_: Any) -> None:
            commands.append(command)
            Path(command[command.index("--json") + 1]).write_text(json.dumps(report(20.0)))

        def communicate(self) -> tuple[str, None]:
            return "", None

        def kill(self) -> None: ...

    monkeypatch.setattr(sessions.subprocess, "Popen", Popen)
    monkeypatch.setattr("scripts.bench.servers.launch.wait_ready", lambda *_, **__: None)
    app, out = typer.Typer(), tmp_path / "out.json"
    app.command()(main)
    arguments = ["--url", "http://there", "--sessions", "2", "--stagger", "0", "--switches", "3"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out)])
    assert done.exit_code == 0, done.output
    first, second = commands
    assert first[first.index("--switches") + 1] == "3" and "--switches" not in second
    assert first[first.index("--seconds") + 1] == "2" and second[second.index("--seconds") + 1] == "20"
    assert json.loads(out.read_text())["share"] == 1.0


def test_sessions_end_with_a_benchmark_that_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    killed: list[Any] = []

    class Popen:
        def __init__(self, command: list[str], **_: Any) -> None:
            if begun:
                raise OSError("no more processes")
            begun.append(self)

        def kill(self) -> None:
            killed.append(self)

    monkeypatch.setattr(sessions.subprocess, "Popen", Popen)
    monkeypatch.setattr("scripts.bench.servers.launch.wait_ready", lambda *_, **__: None)
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--url", "http://there", "--sessions", "2", "--stagger", "0"])
    assert isinstance(done.exception, OSError)
    assert killed == begun and len(begun) == 1
