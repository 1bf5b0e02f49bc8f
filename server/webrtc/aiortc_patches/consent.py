"""Consent of a peer that is sent no media (RFC 7675): its packets count as an answer to our checks.

aioice asks a connected peer every 5 s whether it still wants to be sent to, and closes the connection when
six requests in a row are not answered. FFmpeg 8.1's WHIP muxer answers none once it is connected, though it
asks itself: it was cut off after 30 s. To be reported to FFmpeg. Whoever is sent nothing but feedback on what
it sends is not harmed by it, and who sends is there. `test_consent.py` fails if aioice does this elsewhere.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from aioice import Connection, stun
from aioice.ice import CONSENT_FAILURES, CONSENT_INTERVAL
from aiortc import RTCPeerConnection

PACKETS = "depthlive_packets"  # an attribute of a connection: a table of them would keep each for ever
_connection: Any = Connection
_usual = _connection.query_consent


def count_as_consent(pc: RTCPeerConnection, packets: Callable[[], int]) -> None:
    """Once the offer is set, before anything stands where aiortc keeps the aioice connection.

    `packets`: how many have come that the peer alone can have sent; 0 where they do not count. Raises
    AttributeError where aiortc keeps its ICE elsewhere.
    """
    _connection.query_consent = _query_consent
    transports: set[Any] = {one.receiver.transport.transport for one in pc.getTransceivers()}
    for transport in transports:
        setattr(transport._connection, PACKETS, packets)


def hand_consent_on(old: Connection, new: Connection) -> None:
    """To the connection that takes the place of another."""
    setattr(new, PACKETS, getattr(old, PACKETS, None))


async def _query_consent(self: Any) -> None:
    packets: Callable[[], int] | None = getattr(self, PACKETS, None)
    if packets is None:
        return await _usual(self)
    counted, unheard = packets(), 0
    while unheard < CONSENT_FAILURES:
        await asyncio.sleep(CONSENT_INTERVAL * random.uniform(0.8, 1.2))
        is_heard = packets() != counted or await _is_answered(self)
        counted, unheard = packets(), 0 if is_heard else unheard + 1
    self._query_consent_task = None  # which close() would cancel and wait for
    await self.close()


async def _is_answered(connection: Any) -> bool:
    try:
        for pair in connection._nominated.values():
            await pair.protocol.request(
                connection.build_request(pair, nominate=False),
                pair.remote_addr,
                integrity_key=connection.remote_password.encode(),
                retransmissions=0,
            )
    except stun.TransactionError:
        return False
    return True
