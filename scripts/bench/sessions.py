"""Sessions, several on one server at once: what share each gets, who is refused, whom a prompt switch stalls.

python -m scripts.bench.sessions --url http://gpu-host:8080 --sessions 4 --json out/sessions.json
python -m scripts.bench.sessions --sessions 2 --switches 8        # the first one changes its prompt, often

Each session is a `bench.latency` of its own, in a process of its own: codecs of one must not delay another.
The server must have been started with --stamp-source; one is started here without --url.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.bench.figures.switches import shown_in_words
from scripts.bench.servers.launch import serving
from scripts.json_file import JsonFile, write_json

ROOT = Path(__file__).resolve().parents[2]

REFUSED = re.compile(r"the server refused the offer \((\d+)\): (.*)")
FIGURES = {
    "fps": "fps",
    "glass_to_glass_p50_ms": "p50 ms",
    "glass_to_glass_p95_ms": "p95 ms",
    "glass_to_glass_max_ms": "max ms",
    "freezes": "freezes",
    "longest_gap_ms": "gap ms",
    "first_generated_ms": "first ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one session: figures of `bench.latency`, or why there are none."""

    report: dict[str, Any] | None
    refused: str | None = None  # "503: all 2 places are taken ..."
    failed: str | None = None  # whatever else it said


def main(
    url: Annotated[
        str | None, typer.Option(help="A running server, started with --stamp-source. Default: start one.")
    ] = None,
    server_args: Annotated[str, typer.Option(help="Further flags for the server started here.")] = "",
    sessions: Annotated[
        int, typer.Option(min=1, help="Sessions that ask to come in, one after the other.")
    ] = 2,
    stagger: Annotated[float, typer.Option(min=0, help="Seconds between one and the next.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=2, help="Measured after a session's first picture.")] = 20.0,
    switches: Annotated[
        int, typer.Option(min=0, help="Prompt switches of the first session, at random moments.")
    ] = 0,
    size: Annotated[str, typer.Option(help="Camera picture, WIDTHxHEIGHT.")] = "640x480",
    fps: Annotated[float, typer.Option(min=1, max=120, help="Camera frames per second.")] = 30.0,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for a first picture.")] = 60.0,
    json_file: JsonFile = None,
) -> None:
    """Run sessions beside each other and compare what each one got."""
    camera = ["--size", size, "--fps", f"{fps:g}", "--patience", f"{patience:g}"]
    with (
        serving(url, server_args) as (address, _),
        tempfile.TemporaryDirectory() as folder,
        contextlib.ExitStack() as ends,
    ):
        running: list[tuple[subprocess.Popen[str], Path]] = []
        for number in range(sessions):
            if number:
                time.sleep(stagger)
            file = Path(folder, f"{number}.json")
            to_switch = ["--switches", str(switches)] if number == 0 else []
            # The first one only switches: its time goes by with that, beside the others' steady time.
            steady_s = 2.0 if to_switch and switches else seconds
            arguments = ["--steady", "--no-floor", "--seconds", f"{steady_s:g}", *camera, *to_switch]
            command = [sys.executable, "-m", "scripts.bench.latency", "--url", address, "--json", str(file)]
            process = subprocess.Popen(
                [*command, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            ends.callback(process.kill)  # if it has not ended by then
            running.append((process, file))
        outcomes = [outcome_of(process.communicate()[0], file) for process, file in running]
    report = {
        "sessions": sessions,
        "switches": switches,
        "seconds": seconds,
        "camera": {"size": size, "fps": fps},
        "share": fairness(outcomes),
        "outcomes": [
            {"report": one.report, "refused": one.refused, "failed": one.failed} for one in outcomes
        ],
    }
    typer.echo(table(outcomes))
    write_json(json_file, report)
    if all(one.report is None for one in outcomes):
        raise typer.Exit(1)


def outcome_of(said: str, file: Path) -> Outcome:
    """From what a `bench.latency` has written to its file, else from what it said."""
    if file.is_file():
        return Outcome(report=json.loads(file.read_text()))
    if found := REFUSED.search(said):
        return Outcome(report=None, refused=f"{found[1]}: {found[2]}")
    return Outcome(report=None, failed=said.strip()[-500:] or "it said nothing")


def fairness(outcomes: Sequence[Outcome]) -> float | None:
    """The slowest session's frames a second over the fastest one's: 1 is fair. None with fewer than two."""
    rates = [fps for one in outcomes if one.report and (fps := one.report["figures"]["fps"])]
    return min(rates) / max(rates) if len(rates) > 1 else None


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each session, and how fair it was."""
    lines = ["session  " + "".join(f"{name:>9}" for name in FIGURES.values()) + "  switches shown"]
    for number, one in enumerate(outcomes, 1):
        if one.report is None:
            lines.append(
                f"{number:<9}" + (f"refused ({one.refused})" if one.refused else f"failed: {one.failed}")
            )
            continue
        values = (one.report["figures"][name] for name in FIGURES)
        cells = "".join(
            f"{'-' if value is None else f'{value:.1f}' if value < 100 else f'{value:.0f}':>9}"
            for value in values
        )
        lines.append(f"{number:<9}{cells}  {shown_in_words(one.report['switches'])}")
    if (share := fairness(outcomes)) is not None:
        lines.append(f"slowest over fastest: {share:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
