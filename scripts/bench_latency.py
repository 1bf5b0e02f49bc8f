"""Glass-to-glass latency over real WebRTC: numbered frames go in, the numbers are read off what comes back.

python -m scripts.bench_latency --seconds 30 --json out/latency.json
python -m scripts.bench_latency --url http://gpu-host:8080        # a server started with --stamp-source
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run by its path: find the sibling modules as `python -m` would
    sys.path.insert(0, str(ROOT))

from scripts.bench_client import BenchClient, NumberedCamera  # noqa: E402 -- after the path is known
from scripts.latency_report import build_report, explain, table  # noqa: E402

DEFAULT_PROMPTS = ("a winter forest at night", "a statue of molten gold", "coloured paper, folded")
READY_LIMIT_S = 180.0
STOP_LIMIT_S = 15.0


def main(
    url: Annotated[
        str | None,
        typer.Option(help="A running server, started with --stamp-source. Default: start one here."),
    ] = None,
    server_args: Annotated[
        str, typer.Option(help='Further flags for the server started here, e.g. "--device cuda".')
    ] = "",
    seconds: Annotated[float, typer.Option(min=2, help="Measured after the first generated picture.")] = 20.0,
    fps: Annotated[float, typer.Option(min=1, max=120, help="Camera frames per second.")] = 30.0,
    size: Annotated[str, typer.Option(help="Camera picture, WIDTHxHEIGHT.")] = "640x480",
    prompt: Annotated[
        list[str] | None, typer.Option(help="Prompt to switch to during the run; repeat for several.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the first generated picture.")
    ] = 120.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the full record here.")] = None,
) -> None:
    """Measure latency, frame rate, freezes and prompt switches of one stream over real WebRTC."""
    width, height = parse_size(size)
    load_before = os.getloadavg()[0]
    with serving(url, server_args) as (address, start_s):
        camera = NumberedCamera(width, height, fps)
        client = BenchClient(address, camera)
        try:
            recording = asyncio.run(client.run(seconds, prompt or DEFAULT_PROMPTS, patience))
        except (TimeoutError, ConnectionError) as error:
            typer.echo(explain(error, client.recording, patience), err=True)
            raise typer.Exit(1) from None
    report = build_report(
        recording,
        command=shlex.join(sys.argv),
        camera={"width": width, "height": height, "fps": fps},
        server_start_s=start_s,
        load_before=load_before,
    )
    typer.echo(table(report))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        typer.echo(f"written: {json_file}")


def parse_size(size: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480). Raises typer.BadParameter unless both are even numbers of 32 to 4096."""
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    numbers = tuple(map(int, match.groups())) if match else ()
    if len(numbers) != 2 or any(number % 2 or not 32 <= number <= 4096 for number in numbers):
        raise typer.BadParameter(
            f"{size!r}: expected WIDTHxHEIGHT, even numbers from 32 to 4096", param_hint="--size"
        )
    return numbers[0], numbers[1]


@contextlib.contextmanager
def serving(url: str | None, server_args: str) -> Iterator[tuple[str, float | None]]:
    """A ready server's address and the seconds it took from its start (None for one that ran already)."""
    if url is not None:
        wait_ready(url, process=None)
        yield url, None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "server",
        "--port",
        str(port),
        "--stamp-source",
        *shlex.split(server_args),
    ]
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            wait_ready(address, process)
            yield address, time.monotonic() - began
        except typer.Exit:
            log.seek(0)
            typer.echo(log.read().decode(errors="replace")[-4000:], err=True)
            raise
        finally:
            stop(process)


def wait_ready(address: str, process: subprocess.Popen[bytes] | None) -> None:
    """Return when /readyz says yes; exit with the server's own reason when it does not in time."""
    reason = "no answer"
    end = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
        except OSError as error:
            reason = str(error)
        time.sleep(0.25)
    ended = process is not None and process.poll() is not None
    typer.echo(f"{address} is not ready: {'the server ended' if ended else reason}", err=True)
    raise typer.Exit(1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would; by force when that does not help."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    typer.run(main)
