"""End-to-end benchmark on one machine, part by part: the real server, and headless clients against it.

python -m scripts.bench.end_to_end --random-weights --out out/e2e --limit 570
python -m scripts.bench.end_to_end --random-weights --part fast --fast-seconds 300 --out out/slope
python -m scripts.bench.end_to_end --model embedded --device cpu --size 320x240 --part fast --part two

fast, exact: one session. two, four: so many, all let in. switch: one of two changes its prompt, often.
admission: four ask, as many come in as keep real time. warm: only a start that finds the compile cache of the
one before. floor: one session, then the echo server.

Made for a machine that may be gone at any moment: each line is said at once, and OUT has each part's JSON
(PART.json), all parts so far (end_to_end.json, table.txt) and the servers' logs before the next part starts.
A part that would not fit into what is left of --limit is left out, one that hangs is ended with its server.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.bench.figures.end_to_end_report import goals_of, sessions_of, table
from scripts.bench.figures.latency_report import describe_machine
from scripts.bench.servers.launch import ServerNotReady, end_group, serving, wait_ready
from scripts.json_file import write_json, write_whole

ROOT = Path(__file__).resolve().parents[2]

LEAD_S = 8.0  # a client's imports, its first picture, its table
RESERVE_S = 5.0  # of the whole limit: for the last figures and the server's end
SLACK_S = 20.0  # beyond what a part plans, before it counts as hanging
STILL_READY_S = 5.0
PLACES = 4
SWITCH_S = 2.5
SHORT_STAGGER_S = 0.5
FLOOR_S = 6.0
CACHE = ROOT / "out" / "compile-cache"  # what lies there is run: no folder that others can make first
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
UNBUFFERED = {**os.environ, "PYTHONUNBUFFERED": "1"}  # each line of a client as it is said


class Name(StrEnum):
    """The parts, the most important one first."""

    fast = "fast"
    warm = "warm"
    two = "two"
    switch = "switch"
    exact = "exact"
    admission = "admission"
    four = "four"
    floor = "floor"


DEFAULT_ORDER = tuple(name for name in Name if name is not Name.floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A client (`module` and its arguments; None: only the start) against a server with `flags`."""

    flags: tuple[str, ...]
    module: str | None = None
    arguments: tuple[str, ...] = ()
    planned_s: float = 0.0  # what the client takes when all goes well
    is_fresh: bool = False  # a server of its own, even where one with these flags runs


@dataclass(slots=True, kw_only=True)
class RunPlan:
    """What every part shares."""

    out: Path
    server: tuple[str, ...]  # flags of every server
    camera: tuple[str, ...]  # arguments of every client
    patience_s: float
    start_limit_s: float
    cache: Path
    deadline: float  # on the monotonic clock
    machine: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Until parts have to be over."""
        return self.deadline - RESERVE_S - time.monotonic()


class Hanging(Exception):
    """A client did not end in time; it has been ended."""


class Stop:
    """A signal to stop ends the part that is measured, never what writes its figures."""

    def __init__(self) -> None:
        self.is_asked = False
        self._is_measuring = False

    def __call__(self, *_: object) -> None:
        may_raise = self._is_measuring and not self.is_asked
        self.is_asked = True
        if may_raise:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Here the signal raises KeyboardInterrupt; also one that came before."""
        self._is_measuring = True
        try:
            if self.is_asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_measuring = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Signals come here."""
        usual = {number: signal.signal(number, self) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)


class Servers:
    """One server at a time; it goes on from part to part while its flags stay the same."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._stack = contextlib.ExitStack()
        self._address = ""
        self._flags: tuple[str, ...] | None = None  # None: none runs
        self.about: dict[str, Any] = {}  # the last one started
        self.start_s = 0.0  # what a start takes, as the last one did

    def runs(self, part: Part) -> bool:
        """Whether the one that `part` needs is there already, as far as known."""
        return self._flags == part.flags and not part.is_fresh

    def ready(self, name: str, part: Part) -> str:
        """The address of a ready server. Raises ServerNotReady; none runs then; `about` has its phases."""
        if self.runs(part):
            try:
                wait_ready(self._address, None, limit_s=STILL_READY_S)
                return self._address
            except ServerNotReady as error:
                self.close(error)
        self.close()
        return self._start(name, part)

    def _start(self, name: str, part: Part) -> str:
        log, phases = self._plan.out / f"server-{name}.log", {}
        before = _files(self._plan.cache)
        self.about = {"log": log.name, "flags": shlex.join(part.flags), "phases_s": phases, "ready_s": None}

        def note(reason: str, seconds: float) -> None:
            phase = reason.split(":")[0]
            if phase not in phases:
                phases[phase] = round(seconds, 1)
                typer.echo(f"{name}: after {seconds:.1f} s: {reason}")

        flags = shlex.join([*self._plan.server, *part.flags])
        limit_s = min(self._plan.start_limit_s, self._plan.left_s)
        start = serving(None, flags, log_file=log, note=note, limit_s=limit_s)
        self._address, ready_s = self._stack.enter_context(start)
        self._flags = part.flags
        self.start_s = ready_s or 0.0
        cache = _cache_state(before, _files(self._plan.cache))
        with urllib.request.urlopen(f"{self._address}/api/info", timeout=10) as response:
            info = json.load(response)
        self.about |= {
            "ready_s": round(self.start_s, 2),
            "compile_cache": cache,
            "cache_files_before": before,
            "places": info["max_sessions"],
            "model": info["model"],
        }
        typer.echo(
            f"{name}: ready after {self.start_s:.1f} s, compile cache {cache}, {info['max_sessions']} places"
        )
        return self._address

    def close(self, error: BaseException | None = None) -> None:
        """Stop the one that runs: as by Ctrl-C, or in a hurry after an error."""
        self._flags = None
        self._stack.__exit__(type(error) if error else None, error, None)
        self._stack = contextlib.ExitStack()


def main(
    out: Annotated[Path, typer.Option(help="Folder for figures and logs.")] = ROOT / "out" / "end_to_end",
    part: Annotated[
        list[Name] | None,
        typer.Option(help=f"Repeat for several, in this order. Default: {', '.join(DEFAULT_ORDER)}."),
    ] = None,
    limit: Annotated[float, typer.Option(min=1, help="Seconds for everything.")] = 570.0,
    start_limit: Annotated[float, typer.Option(min=1, help="Seconds for a server to get ready.")] = 180.0,
    model: Annotated[str, typer.Option(help="The server's preset.")] = "longlive-1.3b",
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Draw all weights: same speed, nothing to download.")
    ] = False,
    server_args: Annotated[str, typer.Option(help='Further flags for the servers: "--depth edges".')] = "",
    cache_dir: Annotated[
        Path, typer.Option(help="Compile cache of the servers; empty before a cold start.")
    ] = CACHE,
    fast_seconds: Annotated[float, typer.Option(min=2, help="Measured in fast; 300 for the slope.")] = 60.0,
    exact_seconds: Annotated[float, typer.Option(min=2, help="Measured in exact.")] = 20.0,
    shared_seconds: Annotated[float, typer.Option(min=2, help="Measured in two, four, admission.")] = 15.0,
    switches: Annotated[int, typer.Option(min=1, help="Prompt switches in switch.")] = 8,
    size: Annotated[str, typer.Option(help="Camera picture, WIDTHxHEIGHT.")] = "832x480",
    fps: Annotated[float, typer.Option(min=1, max=120, help="Camera frames per second.")] = 30.0,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for a first picture.")] = 60.0,
) -> None:
    """Measure a server end to end, part by part, within a time limit."""
    out.mkdir(parents=True, exist_ok=True)
    weights = ["--random-weights"] if random_weights else []
    flags = ["--model", model, "--device", device, "--cache-dir", str(cache_dir.absolute())]
    plan = RunPlan(
        out=out,
        server=(*flags, "--max-sessions", str(PLACES), *weights, *shlex.split(server_args)),
        camera=("--size", size, "--fps", f"{fps:g}", "--patience", f"{patience:g}"),
        patience_s=patience,
        start_limit_s=start_limit,
        cache=cache_dir,
        deadline=time.monotonic() + limit,
        machine=describe_machine() | {"gpus": _gpus(), "load_before": os.getloadavg()[0]},
    )
    parts = parts_of(fast_seconds, exact_seconds, shared_seconds, switches)
    order = part or DEFAULT_ORDER
    records = measure({name: parts[name] for name in order}, plan)
    if any(record["status"] != "done" for record in records):
        raise typer.Exit(1)


def parts_of(fast_s: float, exact_s: float, shared_s: float, switches: int) -> dict[Name, Part]:
    """Every part, for so many seconds measured."""
    fast = ("--speed", "fast")
    all_let_in = (*fast, "--min-fps", "0")
    switch_s = switches * SWITCH_S + 4
    return {
        Name.fast: _one(fast, fast_s),
        Name.warm: Part(flags=all_let_in, is_fresh=True),
        Name.two: _many(all_let_in, 2, shared_s),
        Name.switch: _many(all_let_in, 2, switch_s, "--switches", str(switches)),
        Name.exact: _one(("--speed", "exact"), exact_s),
        Name.admission: _many(fast, 4, shared_s),
        Name.four: _many(all_let_in, 4, shared_s, "--stagger", f"{SHORT_STAGGER_S:g}"),
        Name.floor: _one(all_let_in, FLOOR_S, floor=True),
    }


def _one(flags: tuple[str, ...], seconds: float, *, floor: bool = False) -> Part:
    return Part(
        flags=flags,
        module="scripts.bench.latency",
        arguments=("--steady", "--floor" if floor else "--no-floor", "--seconds", f"{seconds:g}"),
        planned_s=(seconds + LEAD_S) * (2 if floor else 1),
    )


def _many(flags: tuple[str, ...], sessions: int, seconds: float, *more: str) -> Part:
    stagger_s = SHORT_STAGGER_S if "--stagger" in more else 2.0
    return Part(
        flags=flags,
        module="scripts.bench.sessions",
        arguments=("--sessions", str(sessions), "--seconds", f"{seconds:g}", *more),
        planned_s=seconds + LEAD_S + (sessions - 1) * stagger_s,
    )


def measure(parts: dict[Name, Part], plan: RunPlan) -> list[dict[str, Any]]:
    """A record of each part, in order, whatever becomes of it; on disk before the next one starts.

    After a signal to stop the rest is skipped.
    """
    records: list[dict[str, Any]] = []
    servers, stop = Servers(plan), Stop()
    with stop.heard():
        try:
            for name, part in parts.items():
                record = _blank(name, time.monotonic() - plan.began)
                error = _fill(record, part, plan, servers, stop)
                record["took_s"] = round(time.monotonic() - plan.began - record["at_s"], 1)
                records.append(record)
                keep(records, plan)
                if stop.is_asked:
                    break
                if error is not None:
                    servers.close(error)
            if rest := list(parts)[len(records) :]:
                at_s = time.monotonic() - plan.began
                why = {"status": "skipped", "why": "a signal to stop came before"}
                records += [_blank(name, at_s) | why | {"goals": goals_of(name, [])} for name in rest]
                keep(records, plan)
        finally:
            servers.close(KeyboardInterrupt() if stop.is_asked else None)
    return records


def _blank(name: str, at_s: float) -> dict[str, Any]:
    return {
        "part": str(name),
        "status": "failed",  # done, failed, ended, skipped or interrupted
        "why": None,
        "at_s": round(at_s, 1),
        "took_s": 0.0,
        "started": False,  # a server of its own; else it went on with the last part's
        "server": None,
        "sessions": [],
        "goals": {},
        "said": [],
        "report": None,
    }


def _fill(
    record: dict[str, Any], part: Part, plan: RunPlan, servers: Servers, stop: Stop
) -> BaseException | None:
    """Measure `part` into `record`, as far as it gets; what ended it early, if the server goes with it."""
    name = record["part"]
    needs_s = part.planned_s + (0.0 if servers.runs(part) else servers.start_s)
    if needs_s > plan.left_s:
        record |= {"status": "skipped", "why": f"needs {needs_s:.0f} s, {max(plan.left_s, 0):.0f} s are left"}
        record["goals"] = goals_of(name, [])
        return None
    try:
        with stop.measuring():
            typer.echo(f"== {record['at_s']:.0f} s: {name}")
            last = servers.about
            try:
                address = servers.ready(name, part)
            finally:
                record |= {"started": servers.about is not last, "server": servers.about or None}
            if part.module is not None:
                record["report"] = _run_client(part, address, plan, record["said"])
                if all(session["figures"] is None for session in sessions_of(record["report"])):
                    raise ValueError("no session has figures")
            record["status"] = "done"
    except KeyboardInterrupt as error:
        record |= {"status": "interrupted", "why": "by a signal"}
        return error
    except Hanging as error:
        record |= {"status": "ended", "why": str(error)}
        return error
    except Exception as error:  # a part's border: whatever it is, the others go on
        why = error.reason if isinstance(error, ServerNotReady) else f"{type(error).__name__}: {error}"
        record["why"] = f"the server is not ready: {why}" if isinstance(error, ServerNotReady) else why
        return error
    finally:
        record["sessions"] = sessions_of(record["report"])
        record["goals"] = goals_of(name, record["sessions"])
    return None


def _run_client(part: Part, address: str, plan: RunPlan, said: list[str]) -> dict[str, Any]:
    """The report of a client in a process of its own, its lines shown and added to `said` as they come.

    Raises Hanging when it took too long, its whole group ended; ValueError when it reported nothing.
    """
    limit_s = min(part.planned_s + plan.patience_s + SLACK_S, plan.left_s)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        command = client_command(part, address, file, plan.camera)
        is_over = threading.Event()
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=UNBUFFERED,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as client:

            def end() -> None:
                is_over.set()
                end_group(client)

            timer = threading.Timer(max(limit_s, 0), end)
            timer.start()
            assert client.stdout is not None
            try:
                for line in client.stdout:
                    said.append(line.rstrip("\n"))
                    typer.echo(said[-1])
                client.wait()
            except BaseException:
                end_group(client)
                raise
            finally:
                timer.cancel()
        if not file.is_file():
            if is_over.is_set():
                raise Hanging(f"its client was still running after {limit_s:.0f} s")
            raise ValueError(
                said[-1] if said else f"the client said nothing (exit status {client.returncode})"
            )
        return json.loads(file.read_text())


def client_command(part: Part, address: str, file: Path, camera: Sequence[str]) -> list[str]:
    """What runs a part's client, which writes its report to `file`."""
    assert part.module is not None
    where = ["--url", address, "--json", str(file)]
    return [sys.executable, "-m", part.module, *part.arguments, *where, *camera]


def keep(records: Sequence[dict[str, Any]], plan: RunPlan) -> None:
    """Write the last record, and the table and short records of all so far; show the table."""
    last, shown = records[-1], table(records)
    write_json(plan.out / f"{last['part']}.json", last)
    write_whole(plan.out / "table.txt", shown)
    short = [{key: record[key] for key in record if key not in ("report", "said")} for record in records]
    about = {
        "command": shlex.join(sys.argv),
        "machine": plan.machine,
        "server": shlex.join(plan.server),
        "camera": shlex.join(plan.camera),
        "parts": short,
    }
    write_json(plan.out / "end_to_end.json", about)
    typer.echo(shown)  # last: where nobody listens any more, that fails


def _gpus() -> list[str]:
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.splitlines()
    return []


def _cache_state(before: int, after: int) -> str:
    """In words, from the files in the cache before a start and after."""
    if not before:
        return "cold" if after else "not used"
    return f"warm, {after - before} files added" if after > before else "warm"


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


if __name__ == "__main__":
    typer.run(main)
