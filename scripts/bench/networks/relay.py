"""Relay between the TUN devices of two network namespaces, which treats packets as its shapers say."""

import asyncio
import fcntl
import heapq
import os
import struct
import subprocess
from collections.abc import Callable
from itertools import count

from scripts.bench.networks.shaping import Conditions, Shaper

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "tun0"
MAX_PACKET_BYTES = 65536
READS_AT_ONCE = 64


def open_tun(address: str, other: str) -> int:
    """Descriptor of a new TUN device of this process's namespace, which has `address` and leads to `other`.

    Each read and write of it is one IP packet. Raises OSError, and CalledProcessError of `ip`.
    """
    tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        for command in (
            f"ip address add {address} peer {other} dev {DEVICE}",
            f"ip link set {DEVICE} addrgenmode none up",  # no IPv6, which talks by itself
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
    except BaseException:
        os.close(tun)
        raise
    return tun


class Relay:
    """Both directions between two TUN descriptors, on the running loop, until `close`."""

    def __init__(self, near: int, far: int, seed: int) -> None:
        """It owns the descriptors from now on."""
        self._loop = asyncio.get_running_loop()
        self._ends = (near, far)
        self.up, self.down = Shaper(f"{seed} up"), Shaper(f"{seed} down")
        for source, target, shaper in ((near, far, self.up), (far, near, self.down)):
            line = _Line(self._loop, shaper, target)
            self._loop.add_reader(source, _read_all, source, line.send)

    def set(self, conditions: Conditions) -> float:
        """For both directions, from now on; returns when that is, on the loop's clock."""
        self.up.conditions = self.down.conditions = conditions
        return self._loop.time()

    def close(self) -> None:
        for end in self._ends:
            self._loop.remove_reader(end)
            os.close(end)
        self._ends = ()


class _Line:
    """Packets that are on their way to one device."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shaper: Shaper, target: int) -> None:
        self._loop, self._shaper, self._target = loop, shaper, target
        self._under_way: list[tuple[float, int, bytes]] = []  # a heap
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, packet: bytes) -> None:
        now = self._loop.time()
        if (arrives := self._shaper.arrival(len(packet), now)) is not None:
            heapq.heappush(self._under_way, (arrives, next(self._numbers), packet))
            self._deliver()

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            _write(self._target, heapq.heappop(self._under_way)[2])
        if self._under_way:
            self._timer = self._loop.call_at(self._under_way[0][0], self._deliver)


def _read_all(source: int, send: Callable[[bytes], None]) -> None:
    for _ in range(READS_AT_ONCE):
        try:
            packet = os.read(source, MAX_PACKET_BYTES)
        except BlockingIOError:
            return
        send(packet)


def _write(target: int, packet: bytes) -> None:
    try:
        os.write(target, packet)
    except OSError:  # closed meanwhile, or full: lost, as on any network
        pass
