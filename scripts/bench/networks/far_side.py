"""The server's side of the link, in a network namespace of its own: TUN device, server, times of its camera.

`unshare -n python -m scripts.bench.networks.far_side SOCKET FILE FLAGS`: the TUN's descriptor goes through
the Unix socket with the descriptor SOCKET; FILE gets a line for each camera frame that a session is given,
when (s, monotonic). FLAGS are those of `depthlive serve`.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scripts.bench.networks.relay import open_tun
from scripts.bench.servers.small_server import serve_small
from server.session.session import LiveSession

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NEAR, FAR = "10.77.0.1", "10.77.0.2"  # the browser's address and the server's


def main() -> None:
    descriptor, file, *flags = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # nobody else ends it where the relay is killed
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    tun = open_tun(FAR, NEAR)
    with socket.socket(fileno=int(descriptor)) as far:
        socket.send_fds(far, [b"tun"], [tun])
    os.close(tun)
    note_camera_frames(Path(file))
    sys.argv[1:] = flags
    serve_small("far_side")


def note_camera_frames(file: Path) -> None:
    """From now on, of all sessions of this process."""
    take: Any = LiveSession.camera_frame
    lines = file.open("ab", buffering=0)

    def note(self: LiveSession, frame: Any) -> None:
        lines.write(b"%.6f\n" % time.monotonic())
        take(self, frame)

    LiveSession.camera_frame = note


if __name__ == "__main__":
    main()
