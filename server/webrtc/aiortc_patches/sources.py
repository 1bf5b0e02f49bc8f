"""Sources (SSRC) of one connection: few, however many the other side makes up.

libsrtp keeps a stream for each SSRC that it has decrypted, aiortc a row in four tables; neither has a bound,
and with 256 of them aiortc's receiver reports raise, after which its receiver never stops. So the SRTP
session that aiortc decrypts with is wrapped in one that refuses packets of further sources.
"""

from typing import Any, Protocol

from aiortc import RTCPeerConnection
from pylibsrtp import Error

MAX_SOURCES = 16  # of RTP and RTCP together: video, retransmissions, some that were replaced


class _Srtp(Protocol):
    def unprotect(self, packet: bytes) -> bytes: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes: ...


def limit_sources(pc: RTCPeerConnection) -> None:
    """Once `pc` is connected. Safe to call again; raises AttributeError where aiortc decrypts elsewhere."""
    transports: set[Any] = {one.receiver.transport for one in pc.getTransceivers()}
    for transport in transports:
        srtp: Any = transport._rx_srtp
        if srtp is not None and not isinstance(srtp, FewSources):
            transport._rx_srtp = FewSources(srtp)


def decrypted_packets(pc: RTCPeerConnection) -> int:
    """How many RTP and RTCP packets have come since limit_sources, each of which the other side has sent."""
    transports: set[Any] = {one.receiver.transport for one in pc.getTransceivers()}
    found = [transport._rx_srtp for transport in transports]
    return sum(srtp.decrypted for srtp in found if isinstance(srtp, FewSources))


class FewSources:
    """What aiortc uses of a pylibsrtp Session for what comes. Raises pylibsrtp.Error as that does."""

    def __init__(self, srtp: _Srtp) -> None:
        self._srtp = srtp
        self._known: set[bytes] = set()
        self.decrypted = 0  # packets

    def unprotect(self, packet: bytes) -> bytes:
        source = self._admitted(packet[8:12])
        plain = self._srtp.unprotect(packet)
        self._take(source)  # not before: anybody can send what does not decrypt
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        source = self._admitted(packet[4:8])
        plain = self._srtp.unprotect_rtcp(packet)
        self._take(source)
        return plain

    def _take(self, source: bytes) -> None:
        self._known.add(source)
        self.decrypted += 1

    def _admitted(self, source: bytes) -> bytes:
        if source not in self._known and len(self._known) >= MAX_SOURCES:
            raise Error(f"more than {MAX_SOURCES} sources")
        return source
