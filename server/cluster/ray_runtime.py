"""Runtime of Ray: the one place that imports it, begins or joins it, and knows how its actors are called."""

import importlib
import os
import sys
from typing import Any

NAMESPACE = "depthlive"
PLACEMENT = "placement"  # name of its actor
JOURNAL_PREFIX = "journal-"  # of the names of journals' actors; the id of Ray's node follows
WORKER_PREFIX = "worker-"  # of the names of workers' actors; their number follows
MISSING = "a cluster needs Ray, which is not installed: pip install 'depthlive[ray]'"
QUIET: dict[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_metrics_collection": "0",  # figures are the gateway's and the workers' own
    "RAY_raylet_start_wait_time_s": "300",  # a busy machine is no fault
}
# Ray's own switch for a cluster of one machine, whose parts then listen on 127.0.0.1 alone.
THIS_MACHINE_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class RayMissing(Exception):
    """The text says how to install it."""


class NoCluster(Exception):
    """There is none at this address; the text says what to do."""


def ray_module(name: str = "ray") -> Any:
    """Ray, or a part of it, imported when it is asked for. Raises RayMissing."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)  # read when Ray is imported, and by what it starts
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RayMissing(MISSING) from error


def begin(*, takes_others: bool = False) -> str:
    """Start Ray on this machine as a part of this process, with which it ends; returns its address. Without
    `takes_others` it listens on loopback alone, and no other machine can join."""
    if not takes_others:
        os.environ.update(THIS_MACHINE_ALONE)  # before Ray is imported
    ray = ray_module()
    # What Ray starts imports this package as this process does.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    context = ray.init(
        address="local",
        namespace=NAMESPACE,
        include_dashboard=False,
        log_to_driver=True,
        configure_logging=False,
    )
    return str(context.address_info["gcs_address"])


def join(address: str) -> None:
    """Join a cluster of Ray that runs: `auto` is the one of this machine. Raises NoCluster."""
    ray = ray_module()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise NoCluster(
            f"address: no cluster {where}; expected one that `depthlive cluster up` began"
        ) from error


def end() -> None:
    """Leave it; what this process has begun ends."""
    ray_module().shutdown()
