"""Network namespaces: whether this machine lets one be made."""

import subprocess

from scripts.bench.servers.alone import UNSHARE


def has_namespaces() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False
