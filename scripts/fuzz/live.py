"""Attack on a live server: `python -m scripts.fuzz.live`, in a network namespace that has loopback alone.

    python -m scripts.fuzz.live                              # the long counts, about half an hour
    python -m scripts.fuzz.live --share 0.01                 # the short form
    python -m scripts.fuzz.live --only offers --count 500 --seed 3

It starts the real server with the built-in model and two neighbours who stream, one by WebSocket and one by
WebRTC, and sends one kind of input after the other. The exit status is 1 after a 5xx other than 503, an
answer with Python's own words or a path in it, a traceback in the log, or where the server has ended; what it
came of is in `--keep`. Frame rates and stalls are told, not judged: they are the machine's, too.
"""

import asyncio
import hashlib
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

from scripts.bench.servers.launch import ROOT, stop, wait_ready
from scripts.bench.servers.loopback_ice import module_command
from scripts.fuzz.alone import go_alone
from scripts.fuzz.attacks import ATTACKS, Attack
from scripts.fuzz.neighbours import WAYS, Counts, streaming
from scripts.fuzz.site import Tally, site
from scripts.json_file import JsonFile, write_json

# Rates that are about one address: here all are at one. What protects the server in other ways stays.
FLAGS = (
    *("--device", "cpu", "--min-fps", "0", "--max-sessions", "64", "--max-sessions-per-address", "64"),
    *("--max-connecting-per-address", "64", "--requests-per-second", "1e6", "--connects-per-second", "1e6"),
    *("--camera-seconds", "0", "--log-level", "info", "--depth", "edges"),
)
# Of torch: the loop and the neighbours are to have the other half of the processor.
THREADS = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}
NICENESS = 10  # the attackers' own work is not to take the processor from the server and its neighbours
ALONE_S = 10.0  # measured before and after
STALL = re.compile(r'^depthlive_loop_stall_seconds_bucket{le="([^"]+)"} ([0-9.]+)', re.M)
LONGEST = re.compile(r"^depthlive_loop_longest_stall_seconds ([0-9.e-]+)", re.M)
COLUMNS = f"{'input':<11}{'sent':>8}{'2xx':>8}{'4xx':>8}{'503':>6}{'other':>9}{'closed':>8}{'faults':>7}"
COLUMNS += f"{'traces':>7}{'RSS MiB':>15}{'stall ms':>9}" + "".join(f"{way + ' fps':>15}" for way in WAYS)


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs, seen from outside."""

    url: str
    pid: int
    log: Path

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

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
    with running(keep / "server.log", server_args.split()) as server, streaming(server.url) as counts:
        os.nice(NICENESS)
        typer.echo(COLUMNS)
        rows.append(show(measured(server, counts, "alone", None, ALONE_S)))
        for name in names:
            attack = ATTACKS[name]
            wanted = count or max(1, round(attack.count * share))
            rows.append(show(measured(server, counts, name, (attack, wanted, seed), 0, keep)))
        rows.append(show(measured(server, counts, "alone", None, ALONE_S)))
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
    command = [*module_command("server"), "--port", str(port), *FLAGS, "--stamp-source", *flags]
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
    """One row: what this attack did, or so many seconds of none."""
    tally = Tally()
    seen, began = counts[:], time.monotonic()
    rss, traces, stalls = server.rss_mib(), server.tracebacks(), _stalls(server)
    if work is None:
        time.sleep(seconds)
    else:
        asyncio.run(_attack(server.url, tally, *work))
    took = time.monotonic() - began
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
        "fps": [round((now - then) / took, 2) for now, then in zip(counts[:], seen, strict=True)],
        "took_s": round(took, 1),
        "load": os.getloadavg()[0],
    }


async def _attack(url: str, tally: Tally, attack: Attack, count: int, seed: int) -> None:
    async with site(url, tally) as here:
        await attack.run(here, iter(range(count)), seed)


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
        + "".join(f"{fps:>15.1f}" for fps in row["fps"])
        + f"  {row['took_s']:.0f} s"
    )
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    typer.run(main)
