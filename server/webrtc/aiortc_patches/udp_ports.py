"""UDP ports of media: those of a range, for a firewall or a container that maps only these.

aioice has no setting for it: it binds every socket to `(address, 0)` through the event loop. So that is
where to choose: while a range is in force, a UDP socket that asks for any port of an address gets one of it.
`test_udp_ports.py` fails if a later aioice binds in another way.
"""

import asyncio
import random
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from server.settings import Settings

HOST_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ udp \d+) \S+ (\d+ typ host)", re.MULTILINE)


class NoUdpPort(Exception):
    """No socket could be bound for media; the text says why."""


def announced(answer: str, settings: Settings) -> str:
    """The answer with the public address, if there is one, in place of this machine's own.

    Raises NoUdpPort if it names none although its port was to be of a range: that is used up.

    A machine with several addresses then names the public one with several ports, one of which is reached.
    """
    if settings.udp_ports is not None and "a=candidate:" not in answer:
        raise NoUdpPort("no UDP port is free for media")
    address = settings.public_address
    return answer if address is None else HOST_CANDIDATE.sub(rf"\1 {address} \2", answer)


@contextmanager
def udp_ports_from(ports: tuple[int, int] | None) -> Generator[None]:
    """While this lasts, the running loop takes UDP ports of `ports`, first and last included; None: any."""
    if ports is None:
        yield
        return
    loop: Any = asyncio.get_running_loop()
    bind = loop.create_datagram_endpoint

    async def bind_in_range(factory: Any, local_addr: Any = None, *args: Any, **options: Any) -> Any:
        if local_addr is None or local_addr[1] != 0:
            return await bind(factory, local_addr, *args, **options)
        numbers, failure = range(ports[0], ports[1] + 1), None
        for number in random.sample(numbers, len(numbers)):  # an old connection's late packets find nobody
            try:
                return await bind(factory, (local_addr[0], number), *args, **options)
            except OSError as error:
                failure = error
        raise OSError(f"no UDP port of {ports[0]}-{ports[1]} is free on {local_addr[0]}: {failure}")

    loop.create_datagram_endpoint = bind_in_range
    try:
        yield
    finally:
        del loop.create_datagram_endpoint
