"""Laws of how many sources one connection may have: real SRTP sessions, no network."""

import os
from types import SimpleNamespace

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtcpRrPacket, RtpPacket
from pylibsrtp import Error, Policy, Session

from server.webrtc.aiortc_patches.sources import MAX_SOURCES, FewSources, limit_sources


def sessions() -> tuple[Session, FewSources]:
    """One that encrypts, and ours that decrypts what it has encrypted."""
    key = os.urandom(30)
    sending = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    return sending, FewSources(Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND)))


def rtp(source: int, number: int = 1) -> bytes:
    packet = RtpPacket(payload_type=97, sequence_number=number, timestamp=0)
    packet.ssrc, packet.payload = source, b"hello"
    return packet.serialize()


def test_law_of_many_sources_the_first_few_are_heard_for_ever():
    sending, ours = sessions()
    for source in range(1000):
        packet = sending.protect(rtp(source))
        if source < MAX_SOURCES:
            assert RtpPacket.parse(ours.unprotect(packet)).ssrc == source
        else:
            with pytest.raises(Error):
                ours.unprotect(packet)
    for source in range(MAX_SOURCES):
        assert ours.unprotect(sending.protect(rtp(source, 2)))


def test_law_sources_of_rtcp_count_too():
    sending, ours = sessions()
    for source in range(MAX_SOURCES):
        assert ours.unprotect_rtcp(sending.protect_rtcp(bytes(RtcpRrPacket(ssrc=source))))
    assert ours.unprotect(sending.protect(rtp(MAX_SOURCES - 1)))
    with pytest.raises(Error):
        ours.unprotect(sending.protect(rtp(MAX_SOURCES)))
    with pytest.raises(Error):
        ours.unprotect_rtcp(sending.protect_rtcp(bytes(RtcpRrPacket(ssrc=MAX_SOURCES))))


def test_law_what_does_not_decrypt_takes_nobodys_place():
    sending, ours = sessions()
    for source in range(1000, 1100):
        for unprotect, packet in (
            (ours.unprotect, rtp(source) + bytes(10)),
            (ours.unprotect_rtcp, bytes(40)),
        ):
            with pytest.raises(Error):
                unprotect(packet)
    assert ours.unprotect(sending.protect(rtp(1)))


async def test_the_place_has_not_moved():
    pc = RTCPeerConnection()
    pc.addTransceiver("video")
    limit_sources(pc)  # not connected yet: nothing decrypts
    await pc.close()
    moved = SimpleNamespace(
        getTransceivers=lambda: [SimpleNamespace(receiver=SimpleNamespace(transport=object()))]
    )
    with pytest.raises(AttributeError):
        limit_sources(moved)  # pyright: ignore[reportArgumentType] stands for another aiortc
