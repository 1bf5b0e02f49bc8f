"""Command `depthlive cluster`: begin a cluster or change it, see it, drain a worker, end it."""

import logging
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from server.access.addresses import is_loopback
from server.access.errors import UnusableAccess
from server.cluster import ray_runtime
from server.cluster.lifecycle import (
    ClusterPlan,
    UnusableCluster,
    down,
    drain,
    existing,
    is_up,
    preset_of,
    starting,
    statuses,
    up,
)
from server.cluster.ray_runtime import NoCluster, RayMissing
from server.placement.free_places import Policy
from server.settings import Settings

FAILED, MISUSED = 1, 2  # exit codes
LOOK_S = 1.0  # between two looks whether the cluster has been ended by `down`
THIS_MACHINE = "auto"

Address = Annotated[
    str,
    typer.Option(help="Of a cluster of Ray that runs, as HOST:PORT; auto is the one of this machine."),
]


def begin_or_change(
    settings: Settings, workers: Mapping[str, int], *, gateways: int, policy: Policy, address: str | None
) -> None:
    """`depthlive cluster up`: the whole of it, flags aside."""
    with _told():
        is_own = _join_or_begin(settings, address)
        plan = ClusterPlan(settings=settings, workers=workers, gateways=gateways, policy=policy)
        try:
            up(plan)
            total = ", ".join(f"{count} of {preset}" for preset, count in workers.items())
            typer.echo(f"Gateway on http://{settings.host}:{settings.port}; workers: {total}")
            if is_own:
                _stay()
        finally:
            ray_runtime.end()


def _join_or_begin(settings: Settings, address: str | None) -> bool:
    """Whether this process is the cluster's, which ends with it."""
    try:
        ray_runtime.join(address or THIS_MACHINE)
        if address is not None or is_up():
            return False
        ray_runtime.end()  # somebody else's
    except NoCluster:
        if address is not None:
            raise
    typer.echo(f"Ray runs at {ray_runtime.begin(takes_others=not is_loopback(settings.host))}")
    return True


def _stay() -> None:
    """Until interrupted, or until `down` has ended the cluster."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while not stopped.wait(LOOK_S):
        if not is_up():
            return
    typer.echo("Ending the cluster; interrupt again to stop at once")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    down()


def status(address: Address = THIS_MACHINE) -> None:
    """Show every worker of the cluster."""
    with _joined(address):
        table = Table("Worker", "Model", "Sessions", "Places", "Frames/s", "State")
        table.add_column("Address", overflow="fold")
        told = statuses(existing())
        for one in told:
            report = one.report
            state = "lost" if one.is_lost else "draining" if report.is_draining else "ready"
            pace = "-" if report.pace is None else f"{report.pace:.1f}"
            counts = str(len(report.sessions)), str(report.places)
            is_loading = state == "ready" and not report.is_ready
            table.add_row(
                report.worker, report.model, *counts, pace, "not ready" if is_loading else state, report.url
            )
        for worker in starting(told):  # for ever, where no machine has the GPUs that it takes
            table.add_row(worker, preset_of(worker), "-", "-", "-", "waits for room, or starts", "-")
        Console().print(table)


def drain_worker(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="A name that `status` shows.")],
    address: Address = THIS_MACHINE,
) -> None:
    """Take a worker out: its streams go on at others, and it ends."""
    with _joined(address):
        try:
            drain(existing(), worker)
        except KeyError:
            names = ", ".join(one.report.worker for one in statuses(existing())) or "none"
            _fail(f"worker: expected one of {names}, got {worker}", MISUSED)
        typer.echo(f"{worker} drains.")


def end(address: Address = THIS_MACHINE) -> None:
    """End the cluster: gateways, workers and placement. Ray goes on where somebody else began it."""
    with _joined(address):
        existing()
        down()
        typer.echo("The cluster has ended.")


@contextmanager
def _joined(address: str) -> Generator[None]:
    logging.basicConfig(level=logging.ERROR)
    with _told():
        ray_runtime.join(address)
        try:
            yield
        finally:
            ray_runtime.end()


@contextmanager
def _told() -> Generator[None]:
    """What went wrong, in words and by a code."""
    try:
        yield
    except (RayMissing, UnusableCluster, UnusableAccess) as error:
        _fail(str(error), MISUSED)
    except (NoCluster, ConnectionError) as error:
        _fail(str(error), FAILED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"depthlive: {message}", err=True)
    raise typer.Exit(code)
