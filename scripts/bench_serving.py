"""Servers for a benchmark: started here on a free port and stopped as by Ctrl-C, or waited for elsewhere."""

import contextlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parents[1]
READY_LIMIT_S = 180.0
STOP_LIMIT_S = 15.0


@contextlib.contextmanager
def serving(url: str | None, server_args: str) -> Iterator[tuple[str, float | None]]:
    """A ready server's address and the seconds it took from its start (None for one that ran already)."""
    if url is not None:
        wait_ready(url, process=None)
        yield url, None
        return
    with started("server", "--stamp-source", *shlex.split(server_args)) as address_and_start:
        yield address_and_start


@contextlib.contextmanager
def started(module: str, *arguments: str) -> Iterator[tuple[str, float]]:
    """Address and seconds to ready of `python -m MODULE --port FREE ARGUMENTS`; stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: Sequence[str] = [sys.executable, "-m", module, "--port", str(port), *arguments]
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
            with error:
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
