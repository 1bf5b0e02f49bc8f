"""Datagrams that are neither STUN, DTLS nor SRTP: passed over before aioice and aiortc read them.

aioice takes datagrams of any sender, so whoever knows the port can send one. aiortc 1.16 ends the DTLS
transport, and with it the connection, where one is longer than pylibsrtp's buffer (ValueError); aioice 0.13
raises struct.error in the loop where an attribute of STUN is cut short. To be reported to both: one such
datagram to the port of a connected peer shows each.
"""

import logging
import struct
from typing import Any

from aioice.ice import StunProtocol

logger = logging.getLogger(__name__)

LONGEST = 1500  # bytes; pylibsrtp's buffer, and what an Ethernet carries

_protocol: Any = StunProtocol
_usual = _protocol.datagram_received


def _datagram_received(self: StunProtocol, data: bytes, addr: tuple[Any, ...]) -> None:
    if len(data) > LONGEST:
        return
    try:
        _usual(self, data, addr)
    except (struct.error, IndexError, KeyError) as error:
        logger.debug("passes over broken STUN: %r", error)


def pass_over_broken_datagrams() -> None:
    """For all connections of this process, from now on. Safe to call again."""
    _protocol.datagram_received = _datagram_received
