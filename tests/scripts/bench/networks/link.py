"""Datagrams over the relay and back: `python -m tests.scripts.bench.networks.link`, in a network namespace.

Prints as JSON, for each of TRIED, the numbers of the datagrams that came back, how many seconds each took,
and how many the relay has lost.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys

from scripts.bench.networks.relay import Relay, open_tun
from scripts.bench.networks.shaping import CLEAN, OUTAGE, Conditions

NEAR, FAR = "10.77.0.1", "10.77.0.2"
PORT = 9
COUNT = 40
TRIED = {
    "clean": CLEAN,
    "loss": Conditions(loss=0.3),
    "delay": Conditions(delay_s=0.1, jitter_s=0.02),
    "outage": OUTAGE,
    "clean again": CLEAN,
}
PERIOD_S = 0.01


class Echoed(asyncio.DatagramProtocol):
    """Datagrams that come back, each with the time."""

    def __init__(self) -> None:
        self.came: list[tuple[int, float]] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.came.append((int(data), asyncio.get_running_loop().time()))


def echo(descriptor: int) -> None:
    """The far side, for ever."""
    tun = open_tun(FAR, NEAR)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(fileno=descriptor) as unix:
        udp.bind((FAR, PORT))
        socket.send_fds(unix, [b"tun"], [tun])
        while True:
            udp.sendto(*udp.recvfrom(100))


async def measured(near: int, far: int) -> dict[str, dict[str, object]]:
    loop = asyncio.get_running_loop()
    relay = Relay(near, far, seed=1)
    found: dict[str, dict[str, object]] = {}
    for name, conditions in TRIED.items():
        before = relay.up.lost + relay.down.lost
        relay.set(conditions)
        transport, echoed = await loop.create_datagram_endpoint(Echoed, remote_addr=(FAR, PORT))
        sent: list[float] = []
        for number in range(COUNT):
            sent.append(loop.time())
            transport.sendto(b"%d" % number)
            await asyncio.sleep(PERIOD_S)
        while relay.up.lost + relay.down.lost - before + len(echoed.came) < COUNT:  # noqa: ASYNC110 -- it only counts
            await asyncio.sleep(PERIOD_S)
        transport.close()
        found[name] = {
            "came": [number for number, _ in echoed.came],
            "took": [at - sent[number] for number, at in echoed.came],
            "lost": relay.up.lost + relay.down.lost - before,
        }
    relay.close()
    return found


def main() -> None:
    ours, theirs = socket.socketpair()
    near = open_tun(NEAR, FAR)
    command = [
        "unshare",
        "-n",
        sys.executable,
        "-m",
        "tests.scripts.bench.networks.link",
        str(theirs.fileno()),
    ]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as far_side:
        try:
            theirs.close()
            _, (far,), _, _ = socket.recv_fds(ours, 16, 1)
            os.set_blocking(far, False)
            print(json.dumps(asyncio.run(measured(near, far))))
        finally:
            far_side.kill()


if __name__ == "__main__":
    if sys.argv[1:]:
        echo(int(sys.argv[1]))
    else:
        main()
