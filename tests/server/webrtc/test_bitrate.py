import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.codecs.h264 import H264Encoder

from server.webrtc.bitrate import CEILINGS_BPS, BitrateCeiling


class Sender:
    """As far as the ceiling looks into it."""

    def __init__(self, encoder) -> None:
        self._RTCRtpSender__encoder = encoder


@pytest.fixture
def encoder():
    return H264Encoder()


def test_the_receivers_estimate_counts_up_to_the_ceiling(encoder):
    ceiling = BitrateCeiling(Sender(encoder))
    encoder.target_bitrate = 2_500_000  # what the receiver says
    ceiling.hold("medium")
    assert encoder.target_bitrate == CEILINGS_BPS["medium"]
    encoder.target_bitrate = 700_000
    ceiling.hold("medium")
    assert encoder.target_bitrate == 700_000


def test_a_ceiling_that_rises_gives_the_estimate_back(encoder):
    ceiling = BitrateCeiling(Sender(encoder))
    encoder.target_bitrate = 2_500_000
    for quality, target in (("low", 500_000), ("low", 500_000), ("high", 2_500_000), ("medium", 1_000_000)):
        ceiling.hold(quality)
        assert encoder.target_bitrate == target


def test_nothing_happens_before_the_first_frame():
    BitrateCeiling(Sender(None)).hold("low")


async def test_aiortc_still_keeps_its_encoder_where_the_ceiling_looks():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = pc.addTransceiver("video").sender
    assert "_RTCRtpSender__encoder" in vars(sender)
    await pc.close()
    await asyncio.sleep(0)
