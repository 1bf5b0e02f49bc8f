"""Network namespace with loopback alone: what is sent from within, hostile candidates too, reaches nobody."""

import os
import sys

from scripts.bench.servers.loopback_ice import has_only_loopback

INSIDE = 'ip link set lo up && exec "$0" "$@"'


def go_alone(module: str) -> None:
    """Run this process's command again, as `python -m MODULE`, within one; return where it is in one.

    Raises SystemExit where the machine lets nobody make one.
    """
    if has_only_loopback():
        return
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    try:
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", INSIDE, *command])
    except OSError as error:
        raise SystemExit(
            f"unshare: {error.strerror}; this runs in a network namespace of Linux alone"
        ) from None
