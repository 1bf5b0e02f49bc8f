"""Attack on a live server: `python -m scripts.fuzz.live`, in a network namespace that has loopback alone.

    python -m scripts.fuzz.live                              # the long counts, about half an hour
    python -m scripts.fuzz.live --share 0.01                 # the short form
    python -m scripts.fuzz.live --only offers --count 500 --seed 3

It starts the real server with the built-in model and two neighbours who stream, one by WebSocket and one by
WebRTC, and sends one kind of input after the other. The exit status is 1 after a 5xx other than 503, an
answer with Python's own words or a path in it, a traceback in the log, or where the server has ended; what it
came of is in `--keep`. Frame rates and stalls are told, not judged: they are the machine's, too.

Attackers stand for other machines, yet here they share this one's processors. So they get what the server and
its neighbours leave (SCHED_IDLE), and the model is a small one: what a neighbour loses is then what the
server itself spends. The columns `loop` and `server` say how much of one processor the event loop and the
whole process took.
"""

import asyncio
import hashlib
import itertools
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.bench.servers.alone import go_alone
from scripts.bench.servers.launch import ROOT, ended_by_signals, stop, wait_ready
from scripts.fuzz.attacks import ATTACKS, Attack
from scripts.fuzz.neighbours import WAYS, Counts, streaming
from scripts.fuzz.site import Tally, site
from scripts.json_file import JsonFile, write_json

# Rates that are about one address: here all are at one. What protects the server in other ways stays.
FLAGS = (
    *("--device", "cpu", "--min-fps", "0", "--max-fps", "6", "--depth", "edges", "--camera-seconds", "0"),
    *("--max-sessions", "64", "--max-sessions-per-address", "64", "--log-level", "info"),
    *("--max-connecting-per-address", "64", "--requests-per-second", "1e6", "--connects-per-second", "1e6"),
)
# Of torch: the loop and the neighbours are to have the other half of the processor.
THREADS = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}
ALONE_S = 20.0  # measured before and after
LEAST_S = 10.0  # of an attack: a frame rate of less would be a matter of one picture
STALL = re.compile(r'^depthlive_loop_stall_seconds_bucket{le="([^"]+)"} ([0-9.]+)', re.M)
LONGEST = re.compile(r"^depthlive_loop_longest_stall_seconds ([0-9.e-]+)", re.M)
COLUMNS = f"{'input':<11}{'sent':>8}{'2xx':>8}{'4xx':>8}{'503':>6}{'other':>9}{'closed':>8}{'faults':>7}"
COLUMNS += f"{'traces':>7}{'RSS MiB':>15}{'stall ms':>9}{'loop':>6}{'server':>7}"
COLUMNS += "".join(f"{way + ' fps':>15}" for way in WAYS)
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs, seen from outside."""

    url: str
    pid: int
    log: Path

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of processor that the event loop, which is the main thread, and all threads have taken."""
        stats = (Path(f"/proc/{self.pid}/task/{self.pid}/stat"), Path(f"/proc/{self.pid}/stat"))
        fields = [path.read_text().rpartition(") ")[2].split() for path in stats]
        loop, everything = (sum(map(int, field[11:13])) / TICKS_PER_SECOND for field in fields)
        return loop, everything

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as response:
            return response.read().decode()

    def tracebacks(self) -> int:
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)")


def main(
    only: Annotated[list[str] | None, typer.Option(help="Kinds of input; all without.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Inputs of each kind; none: its own.")] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the long counts.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another one, other inputs.")] = 0,
    keep: Annotated[Path, typer.Option(help="Where inputs that fail are written.")] = Path("out/fuzz"),
    least_s: Annotated[float, typer.Option(min=0, help="Of each kind: inputs go on until then.")] = LEAST_S,
    alone_s: Annotated[float, typer.Option(min=0, help="Without attack, before and after.")] = ALONE_S,
    server_args: Annotated[str, typer.Option(help="Further flags of the server.")] = "",
    json_file: JsonFile = None,
) -> None:
    """Attack a real server, kind by kind, and tell what came of it."""
    names = only or list(ATTACKS)
    if unknown := [name for name in names if name not in ATTACKS]:
        raise typer.BadParameter(f"{unknown[0]!r}: expected one of {', '.join(ATTACKS)}", param_hint="--only")
    go_alone("scripts.fuzz.live")
    keep.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with (
        ended_by_signals(),
        running(keep / "server.log", server_args.split()) as server,
        streaming(server.url) as counts,
    ):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        typer.echo(COLUMNS)
        rows.append(show(measured(server, counts, "alone", None, alone_s)))
        for name in names:
            attack = ATTACKS[name]
            wanted = count or max(1, round(attack.count * share))
            rows.append(show(measured(server, counts, name, (attack, wanted, seed), least_s, keep)))
        rows.append(show(measured(server, counts, "alone", None, alone_s)))
        wait_ready(server.url, None, limit_s=30)
        longest_ms = round(1000 * float(LONGEST.findall(server.metrics())[0]), 1)
    typer.echo(f"longest stall of the loop: {longest_ms} ms; load of the machine: {os.getloadavg()[0]:.1f}")
    write_json(json_file, {"seed": seed, "rows": rows, "longest_stall_ms": longest_ms})
    for row in rows:
        for words in row["faults"]:
            typer.echo(f"{row['name']}: {words}", err=True)
    raise typer.Exit(any(row["faults"] or row["tracebacks"] for row in rows))


@contextmanager
def running(log: Path, flags: list[str]) -> Iterator[Server]:
    """A ready server, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scripts.bench.servers.small_server", "--port", str(port), *FLAGS]
    command += ["--stamp-source", *flags]
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **THREADS}
        ) as process,
    ):
        try:
            wait_ready(url, process)
            yield Server(url, process.pid, log)
        finally:
            stop(process)


def measured(
    server: Server,
    counts: Counts,
    name: str,
    work: tuple[Attack, int, int] | None,
    seconds: float,
    keep: Path | None = None,
) -> dict[str, Any]:
    """One row: what this attack did in so many seconds or more, or in just as many without one."""
    tally = Tally()
    seen, began = counts[:], time.monotonic()
    rss, traces, stalls, cpu = server.rss_mib(), server.tracebacks(), _stalls(server), server.cpu_s()
    if work is None:
        time.sleep(seconds)
    else:
        attack, count, seed = work
        asyncio.run(_attack(server.url, tally, attack, _numbers(count, began + seconds), seed))
    took, spent, now_seen = time.monotonic() - began, server.cpu_s(), counts[:]
    for words, data in tally.inputs.items():
        if keep is not None:
            folder = keep / f"live-{name}"
            folder.mkdir(exist_ok=True)
            path = folder / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(words, encoding="utf-8")
    return {
        "name": name,
        "sent": tally.sent,
        "answers": dict(tally.answers),
        "faults": list(tally.faults.values()),
        "tracebacks": server.tracebacks() - traces,
        "rss_mib": (round(rss), round(server.rss_mib())),
        "stall_ms": _longest(stalls, _stalls(server)),
        "cpu": [round((now - then) / took, 2) for now, then in zip(spent, cpu, strict=True)],
        "fps": [round((now - then) / took, 2) for now, then in zip(now_seen, seen, strict=True)],
        "took_s": round(took, 1),
        "load": os.getloadavg()[0],
    }


async def _attack(url: str, tally: Tally, attack: Attack, numbers: Iterator[int], seed: int) -> None:
    async with site(url, tally) as here:
        await attack.run(here, numbers, seed)


def _numbers(count: int, until: float) -> Iterator[int]:
    """So many, and more until then by the monotonic clock."""
    return itertools.takewhile(lambda n: n < count or time.monotonic() < until, itertools.count())


def _stalls(server: Server) -> dict[float, float]:
    """How many stalls of the loop have been no longer than so many seconds."""
    return {float(le): float(count) for le, count in STALL.findall(server.metrics())}


def _longest(before: dict[float, float], after: dict[float, float]) -> float:
    """Milliseconds that none since has been longer than: a border of the metric's."""
    new = {le: after[le] - before.get(le, 0) for le in after}
    return 1000 * min(le for le in new if new[le] == max(new.values()))


def show(row: dict[str, Any]) -> dict[str, Any]:
    answers = dict(row["answers"])
    known = [answers.pop(name, 0) for name in ("2xx", "4xx", "5xx")]
    closed = answers.pop("closed", 0)
    typer.echo(
        f"{row['name']:<11}{row['sent']:>8}"
        + "".join(f"{n:>{w}}" for n, w in zip(known, (8, 8, 6), strict=True))
        + f"{sum(answers.values()):>9}{closed:>8}{len(row['faults']):>7}{row['tracebacks']:>7}"
        + f"{row['rss_mib'][0]:>8}>{row['rss_mib'][1]:<6}{row['stall_ms']:>9.0f}"
        + f"{row['cpu'][0]:>6.0%}{row['cpu'][1]:>7.0%}"
        + "".join(f"{fps:>15.1f}" for fps in row["fps"])
        + f"  {row['took_s']:.0f} s"
    )
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    typer.run(main)
