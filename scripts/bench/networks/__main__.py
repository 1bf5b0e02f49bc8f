"""Bad networks between the real page in Chromium and the real server: how camera and returned video hold.

python -m scripts.bench.networks --json out/networks.json
python -m scripts.bench.networks --case "loss 5 %" --case clean --seconds 60
python -m scripts.bench.networks --trials 10 --case "bursts: 3 s of 20 %"

Two network namespaces, joined by two TUN devices and a relay that loses and delays packets by a seed. Nothing
leaves them. Needs Linux, `unshare -rn`, /dev/net/tun, `ip` and Chromium.
"""

import asyncio
import contextlib
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from scripts.bench.clients.chromium import chromium
from scripts.bench.clients.numbered_clip import write_clip
from scripts.bench.figures.latency import percentile
from scripts.bench.figures.run_record import RunRecord
from scripts.bench.networks.cases import Case, Outcome, Trial, all_cases, table
from scripts.bench.networks.far_side import FAR, NEAR
from scripts.bench.networks.figures import Continuity, continuity, usual_again
from scripts.bench.networks.relay import Relay, open_tun
from scripts.bench.networks.shaping import CLEAN
from scripts.bench.networks.visit import Visit
from scripts.bench.servers.alone import go_alone
from scripts.bench.servers.launch import ROOT, ended_by_signals, stop, wait_ready
from scripts.json_file import JsonFile, write_json

MODULE = "scripts.bench.networks"
PORT = 8080
CAMERA = (320, 180)  # as the page sends it for the built-in model
SETTLE_S = 5.0  # from live: estimates of the link's rate rise meanwhile
BEFORE_S = 6.0  # clean, by which is known what is usual
FLAGS = ("--host", FAR, "--port", str(PORT), "--open", "--stamp-source", "--min-fps", "0", "--depth", "edges")


def main(
    case: Annotated[
        list[str] | None, typer.Option(help="Name of a case; may be given again. Default: all.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=2, help="Of each steady case.")] = 20.0,
    trials: Annotated[int, typer.Option(min=1, help="Bursts of loss.")] = 10,
    seed: Annotated[int, typer.Option(help="Of what the link does.")] = 0,
    log: Annotated[Path | None, typer.Option(help="File for what the server says.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure each case on a page of its own and print a table."""
    cases = all_cases(seconds, trials)
    if unknown := set(case or ()) - {one.name for one in cases}:
        names = ", ".join(one.name for one in cases)
        raise typer.BadParameter(f"no case {', '.join(sorted(unknown))}; there are: {names}")
    go_alone(MODULE)
    with ended_by_signals():
        outcomes = asyncio.run(measured([one for one in cases if not case or one.name in case], seed, log))
    shown = table(outcomes)
    record = {
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "seed": seed,
        "cases": list(map(asdict, outcomes)),
    }
    write_json(json_file, record | {"table": shown.splitlines()})
    typer.echo(shown)


async def measured(cases: list[Case], seed: int, log: Path | None) -> list[Outcome]:
    """Of each case, in order; it is told on the way."""
    address = f"http://{FAR}:{PORT}"
    with tempfile.TemporaryDirectory() as folder:
        clip, frames = Path(folder) / "camera.mjpeg", Path(folder) / "camera_frames"
        frames.touch()
        write_clip(clip, *CAMERA)
        near = open_tun(NEAR, FAR)
        with server(frames, log or Path(folder) / "log") as (process, far):
            relay = Relay(near, far, seed)
            try:
                await asyncio.to_thread(wait_ready, address, process)
                async with chromium(clip, address) as browser:
                    outcomes: list[Outcome] = []
                    for case in cases:
                        async with Visit.begun(browser, address) as visit:
                            outcomes.append(await Measurement(case, visit, relay, frames).run())
                        typer.echo(table(outcomes[-1:]).splitlines()[-1], err=True)
                    return outcomes
            finally:
                relay.close()


@contextlib.contextmanager
def server(frames: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server in a namespace of its own, and the descriptor of its TUN device."""
    ours, theirs = socket.socketpair()
    command = [
        "unshare",
        "-n",
        sys.executable,
        "-m",
        f"{MODULE}.far_side",
        str(theirs.fileno()),
        str(frames),
        *FLAGS,
    ]
    threads = {"OMP_NUM_THREADS": "1"}  # two that wait for each other on a busy machine are slower than one
    with (
        ours,
        theirs,
        log.open("wb") as said,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=said,
            stderr=said,
            env=os.environ | threads,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        ) as process,
    ):
        try:
            theirs.close()
            _, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
            if not descriptors:
                raise SystemExit(f"the server's side did not begin:\n{log.read_text()[-4000:]}")
            os.set_blocking(descriptors[0], False)
            yield process, descriptors[0]
        finally:
            stop(process)


@dataclass
class Measurement:
    """One case on one page."""

    case: Case
    visit: Visit
    relay: Relay
    frames: Path

    async def run(self) -> Outcome:
        await asyncio.sleep(SETTLE_S)
        begin = time.monotonic()
        await self.visit.take()
        await asyncio.sleep(BEFORE_S)
        end = time.monotonic()
        before_camera, before_shown = self._camera(begin, end), _shown(await self.visit.take(), begin, end)
        trials = [await self._trial(before_camera, before_shown) for _ in range(self.case.trials)]
        return Outcome(
            case=self.case,
            before_camera=before_camera,
            before_shown=before_shown,
            trials=trials,
            is_same_session=await self.visit.is_same_session(),
            offers=self.visit.offers,
            phases=await self.visit.phases(),
        )

    async def _trial(self, before_camera: Continuity, before_shown: Continuity) -> Trial:
        packets = self._packets()
        begin = self.relay.set(self.case.conditions)
        await asyncio.sleep(self.case.lasts_s)
        over = self.relay.set(CLEAN) if self.case.after_s else time.monotonic()
        passed, lost = (now - was for now, was in zip(self._packets(), packets, strict=True))
        await asyncio.sleep(self.case.after_s)
        end = time.monotonic()
        self.relay.set(CLEAN)
        seen = await self.visit.take()
        ages = [
            one.time - one.sent for one in seen.arrivals if one.sent is not None and begin <= one.time <= end
        ]
        return Trial(
            camera=self._camera(begin, end),
            shown=_shown(seen, begin, end),
            age_p50_ms=1000 * percentile(ages, 0.5) if ages else None,
            age_p95_ms=1000 * percentile(ages, 0.95) if ages else None,
            camera_again_s=usual_again(self._camera_times(), over, end, before_camera),
            shown_again_s=usual_again([one.time for one in seen.arrivals], over, end, before_shown),
            lost_share=lost / max(1, passed + lost),
        )

    def _packets(self) -> tuple[int, int]:
        up, down = self.relay.up, self.relay.down
        return up.passed + down.passed, up.lost + down.lost

    def _camera_times(self) -> list[float]:
        return [float(line) for line in self.frames.read_text().splitlines()]

    def _camera(self, begin: float, end: float) -> Continuity:
        return continuity(self._camera_times(), begin, end)


def _shown(seen: RunRecord, begin: float, end: float) -> Continuity:
    return continuity([one.time for one in seen.arrivals], begin, end)


if __name__ == "__main__":
    typer.run(main)
