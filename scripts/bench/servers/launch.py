"""Servers for a benchmark: started here on a free port and stopped as by Ctrl-C, or waited for elsewhere.

What is started here ends with the benchmark, also where a signal ends that.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from scripts.bench.servers.loopback_ice import module_command

ROOT = Path(__file__).resolve().parents[3]
READY_LIMIT_S = 180.0
STOP_LIMIT_S = 15.0
HURRY_LIMIT_S = 2.0  # for a server that something has gone wrong with
SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # that end a process on the spot, unless it hears them
FAILED = ("cannot load", "loading the model failed")  # how the reason begins of one that never gets ready

Note = Callable[[str, float], None]  # (the server's reason for not being ready, seconds since its start)


class ServerNotReady(typer.Exit):
    """A server did not get ready, which has been said; why is in `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self.reason = reason


@contextlib.contextmanager
def serving(
    url: str | None,
    server_args: str,
    *,
    log_file: Path | None = None,
    note: Note | None = None,
    limit_s: float = READY_LIMIT_S,
) -> Iterator[tuple[str, float | None]]:
    """A ready server's address and the seconds it took from its start (None for one that ran already).

    `log_file`, `note`, `limit_s`: as for `started`. Raises ServerNotReady.
    """
    if url is not None:
        wait_ready(url, process=None, note=note, limit_s=limit_s)
        yield url, None
        return
    arguments = ["--stamp-source", *shlex.split(server_args)]
    with started("server", *arguments, log_file=log_file, note=note, limit_s=limit_s) as address_and_start:
        yield address_and_start


@contextlib.contextmanager
def started(
    module: str,
    *arguments: str,
    log_file: Path | None = None,
    note: Note | None = None,
    limit_s: float = READY_LIMIT_S,
) -> Iterator[tuple[str, float]]:
    """Address and seconds to ready of `python -m MODULE --port FREE ARGUMENTS`; stopped at the end.

    `log_file`: takes what it says, as it says it; else that is shown when it does not get ready in `limit_s`.
    It leads a process group, and nothing of that is left, least of all when the block fails, or a signal
    ends it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*module_command(module), "--port", str(port), *arguments]
    began = time.monotonic()
    patience = HURRY_LIMIT_S
    with (
        ended_by_signals(),
        log_file.open("w+b") if log_file else tempfile.TemporaryFile() as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            wait_ready(address, process, note=note, limit_s=limit_s)
            yield address, time.monotonic() - began
            patience = STOP_LIMIT_S
        except typer.Exit:
            log.seek(0)
            typer.echo(log.read().decode(errors="replace")[-4000:], err=True)
            raise
        finally:
            stop(process, patience)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGNALS end the block as `sys.exit` does, and so what was started in it; by themselves they would leave
    that behind. One that is heard already, or ignored, goes where it did."""
    mine: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():  # the only one that hears any
        mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in mine:
            signal.signal(number, _leave)
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)  # as a shell tells it


def wait_ready(
    address: str,
    process: subprocess.Popen[bytes] | None,
    *,
    note: Note | None = None,
    limit_s: float = READY_LIMIT_S,
) -> None:
    """Return when /readyz says yes. Raises ServerNotReady, with the server's own reason, when it never will.

    `note` is told each answer until then.
    """
    reason = "no answer"
    began = time.monotonic()
    while time.monotonic() < began + limit_s and not reason.startswith(FAILED):
        if process is not None and process.poll() is not None:
            reason = "the server ended"
            break
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except urllib.error.HTTPError as error:
            with error:
                reason = _reason(error.read().decode(errors="replace"))
            if note is not None:
                note(reason, time.monotonic() - began)
        except OSError as error:
            reason = str(error)
        time.sleep(0.25)
    typer.echo(f"{address} is not ready: {reason}", err=True)
    raise ServerNotReady(reason)


def _reason(body: str) -> str:
    """What the server's NotReady says; anything else as it is."""
    try:
        return str(json.loads(body)["reason"])
    except (ValueError, TypeError, KeyError):
        return body


def stop(process: subprocess.Popen[bytes], limit_s: float = STOP_LIMIT_S) -> None:
    """As Ctrl-C would; after `limit_s` by force, and so whatever of its group is left."""
    try:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
    finally:  # also when a signal comes here meanwhile
        end_group(process)


def end_group(process: subprocess.Popen[Any]) -> None:
    """End by force the process group that `process` leads (start_new_session), at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left, or only the dead
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
