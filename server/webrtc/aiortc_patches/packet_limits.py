"""Limits of what the other side of one connection may send: packets a second, and messages half sent.

aiortc 1.16 handles whatever comes, in Python, on the event loop: one peer that floods it takes the time of
all. It keeps fragments of a data channel's message until the last has come, without limit, and looks through
all of them with each new one. And a text that is no UTF-8, or a channel opened twice, raises in the task that
reads the connection, which ends then without a word. To be reported upstream, each with its test in
`test_packet_limits.py`.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCPeerConnection

from server.session.command_queue import RateLimit

logger = logging.getLogger(__name__)

MEDIA_PER_SECOND = 5000.0  # RTP; 40 Mbit/s, ten times what a browser's camera sends
FEEDBACK_PER_SECOND = 500.0  # RTCP
DATA_PER_SECOND = 1000.0  # SCTP
MAX_HELD_BYTES = 256 * 1024  # of messages that are not whole yet; we announce messages of 64 KiB
MAX_HELD_CHUNKS = 512
MAX_STREAMS = 256  # of data channels; ours are two
STRING, BINARY = 51, 53  # payload protocol identifiers of RFC 8831, 8
# What aiortc's parsers raise of packets that are broken. One of them is passed over.
BROKEN = (AssertionError, IndexError, KeyError, ValueError, struct.error)

Handle = Callable[..., Awaitable[None]]


def limit_packets(pc: RTCPeerConnection, exceeded: Callable[[str], None]) -> None:
    """Once the offer is set, before the answer. `exceeded` is told why, once, when a limit is passed: the
    caller closes the connection then; nothing more of it is handled.

    Raises AttributeError where aiortc does these things elsewhere.
    """
    gate = _Gate(exceeded)
    # aiortc says nothing of what it keeps behind its public names.
    sctp: Any = pc.sctp
    transports: set[Any] = {transceiver.receiver.transport for transceiver in pc.getTransceivers()}
    for dtls in transports:
        dtls._handle_rtp_data = gate.limited(dtls._handle_rtp_data, MEDIA_PER_SECOND, "RTP")
        dtls._handle_rtcp_data = gate.limited(dtls._handle_rtcp_data, FEEDBACK_PER_SECOND, "RTCP")
    if sctp is not None:
        _SctpLimits(sctp, gate)
        sctp._handle_data = gate.limited(sctp._handle_data, DATA_PER_SECOND, "SCTP")


class _Gate:
    """Closed for good by the first thing that is too much."""

    def __init__(self, exceeded: Callable[[str], None]) -> None:
        self.is_closed = False
        self._exceeded = exceeded
        self._now = asyncio.get_running_loop().time

    def close(self, reason: str) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._exceeded(reason)

    def limited(self, handle: Handle, rate: float, name: str) -> Handle:
        """`handle`, for `rate` packets a second, twice as many after a quiet time; not for broken ones."""
        limit = RateLimit(rate, 2 * rate)

        async def handle_packet(*args: Any, **options: Any) -> None:
            if self.is_closed:
                return
            if not limit.allows(self._now()):
                return self.close(f"sends more than {rate:g} {name} packets a second")
            try:
                await handle(*args, **options)
            except BROKEN as error:
                logger.debug("passes over a broken %s packet: %s", name, error)

        return handle_packet


class _SctpLimits:
    """Fragments of one association, and what is said on its channels."""

    def __init__(self, sctp: Any, gate: _Gate) -> None:
        self._sctp, self._gate = sctp, gate
        self._receive_chunk: Handle = sctp._receive_data_chunk
        self._deliver: Handle = sctp._data_channel_receive
        sctp._receive_data_chunk = self.receive_chunk
        sctp._data_channel_receive = self.deliver

    async def receive_chunk(self, chunk: Any) -> None:
        """Take a DATA chunk unless too much waits for its rest already."""
        if self._gate.is_closed:
            return
        await self._receive_chunk(chunk)
        # Counted anew: whatever takes chunks away is counted so, and the limits keep it short.
        if len(self._sctp._inbound_streams) > MAX_STREAMS:
            return self._gate.close(f"uses more than {MAX_STREAMS} data channels")
        held = [one for stream in self._sctp._inbound_streams.values() for one in stream.reassembly]
        if len(held) > MAX_HELD_CHUNKS or sum(len(one.user_data) for one in held) > MAX_HELD_BYTES:
            self._gate.close(f"sends a message of more than {MAX_HELD_BYTES >> 10} KiB, or never its end")
        elif len(self._sctp._sack_misordered) > MAX_HELD_CHUNKS:
            self._gate.close(f"leaves more than {MAX_HELD_CHUNKS} gaps in what it sends")

    async def deliver(self, stream: int, protocol: int, data: bytes) -> None:
        """Text that is no UTF-8 is delivered as the bytes that it is: whoever takes it answers it."""
        if protocol == STRING:
            try:
                data.decode()
            except UnicodeDecodeError:
                protocol = BINARY
        try:
            await self._deliver(stream, protocol, data)
        except (AssertionError, UnicodeDecodeError) as error:  # opened twice, or under no name
            logger.debug("passes over a message on stream %d: %r", stream, error)
