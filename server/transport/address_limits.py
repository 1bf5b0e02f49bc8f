"""Limits by address: how much of each thing one network may hold, and how often it may ask. Pure.

Limits are by network, not by address: an IPv6 customer has a whole /64 to choose from.
"""

import ipaddress
import math
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from server.session.command_queue import RateLimit

IPV6_PREFIX = 64
MAX_REMEMBERED = 10_000  # networks whose rates are known; those that have been quiet are forgotten first


class TooMuch(Exception):
    """This network, or all of them together, hold or ask for as much as they may; the text says of what."""

    def __init__(self, words: str, retry_after_s: int = 1) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


def network_of(address: str) -> str:
    """The network whose limits count for an address: itself, or its /64. What is no address stays as is."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))


class Shares:
    """How much of one thing each network holds.

    shares = Shares("uploads in bytes", by_address=16 << 20, in_all=64 << 20)
    shares.take(address, amount)        # raises TooMuch
    shares.give_back(address, amount)   # as much, once
    with shares.held(address, amount): ...
    """

    def __init__(self, what: str, *, by_address: int, in_all: int) -> None:
        """`what` is for the words of TooMuch."""
        self.in_use = 0
        self._what = what
        self._by_address, self._in_all = by_address, in_all
        self._held: Counter[str] = Counter()

    def of(self, address: str) -> int:
        """How much the network of `address` holds."""
        return self._held[network_of(address)]

    def take(self, address: str, amount: int = 1) -> None:
        """Raises TooMuch, and takes nothing then."""
        network = network_of(address)
        if self._held[network] + amount > self._by_address:
            raise TooMuch(f"{self._what}: expected at most {self._by_address} from one address at once")
        if self.in_use + amount > self._in_all:
            raise TooMuch(f"{self._what}: expected at most {self._in_all} in all at once")
        self._held[network] += amount
        self.in_use += amount

    def give_back(self, address: str, amount: int = 1) -> None:
        network = network_of(address)
        self._held[network] -= amount
        self.in_use -= amount
        if not self._held[network]:
            del self._held[network]

    @contextmanager
    def held(self, address: str, amount: int = 1) -> Generator[None]:
        """Take it for as long as this lasts. Raises TooMuch."""
        self.take(address, amount)
        try:
            yield
        finally:
            self.give_back(address, amount)


class Rates:
    """How often each network may ask for one thing: `rate` a second, `burst` at once after a quiet time."""

    def __init__(self, what: str, rate: float, burst: float) -> None:
        self._what, self._rate, self._burst = what, rate, burst
        self._limits: dict[str, RateLimit] = {}

    def __len__(self) -> int:
        """Networks that are remembered."""
        return len(self._limits)

    def spend(self, address: str, now: float) -> None:
        """Raises TooMuch unless it may ask once more."""
        network = network_of(address)
        if network not in self._limits and len(self._limits) >= MAX_REMEMBERED:
            self._forget(now)
        if not self._limits.setdefault(network, RateLimit(self._rate, self._burst)).allows(now):
            raise self._too_much()

    def check(self, address: str, now: float) -> None:
        """As `spend`, and counts nothing."""
        limit = self._limits.get(network_of(address))
        if limit is not None and not limit.has(now):
            raise self._too_much()

    def _too_much(self) -> TooMuch:
        words = f"{self._what}: expected at most {self._rate:g} a second from one address"
        return TooMuch(words, max(1, math.ceil(1 / self._rate)))

    def _forget(self, now: float) -> None:
        """Those who have been quiet; where nobody has, half of all, the first ones."""
        busy = {network: limit for network, limit in self._limits.items() if not limit.is_full(now)}
        if len(busy) >= MAX_REMEMBERED:
            busy = dict(list(busy.items())[MAX_REMEMBERED // 2 :])
        self._limits = busy
