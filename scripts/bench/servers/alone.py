"""Network namespace with loopback alone: what is sent from within, hostile candidates too, reaches nobody."""

import os
import subprocess
import sys

from scripts.bench.servers.loopback_ice import has_only_loopback

UNSHARE = ("unshare", "-rn")
INSIDE = 'ip link set lo up && exec "$0" "$@"'


def go_alone(module: str) -> None:
    """Run this process's command again, as `python -m MODULE`, within one; return where it is in one.

    Raises SystemExit where the machine lets nobody make one.
    """
    if has_only_loopback():
        return
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    try:
        subprocess.run([*UNSHARE, "true"], check=True, capture_output=True, text=True)
        os.execvp(UNSHARE[0], [*UNSHARE, "sh", "-c", INSIDE, *command])
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.stderr.strip()
        words = f"{' '.join(UNSHARE)}: {reason}"
        raise SystemExit(
            f"{words}; this runs in a network namespace of Linux alone, and none is to be had"
        ) from None
