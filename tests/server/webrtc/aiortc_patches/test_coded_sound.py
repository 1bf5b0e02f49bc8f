"""What stands where aiortc keeps its jitter buffer and its queue, in a real receiver."""

import asyncio

import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import RtpPacket

from server.webrtc.aiortc_patches.coded_sound import take_coded_sound
from tests.server.running import until
from tests.server.webrtc.test_sound import Microphone


def test_the_private_places_of_aiortc_have_not_moved():
    with pytest.raises(AttributeError):
        take_coded_sound(object(), print)  # type: ignore[arg-type]


async def test_law_each_packet_is_handed_on_at_once_and_nothing_is_decoded():
    sender, receiving, taken, tracks = RTCPeerConnection(), RTCPeerConnection(), [], []
    sender.addTrack(Microphone())
    receiving.on("track", tracks.append)
    try:
        await sender.setLocalDescription(await sender.createOffer())
        await receiving.setRemoteDescription(sender.localDescription)
        receiver: RTCRtpReceiver = receiving.getTransceivers()[0].receiver
        take_coded_sound(receiver, lambda *packet: taken.append(packet))
        await receiving.setLocalDescription(await receiving.createAnswer())
        await sender.setRemoteDescription(receiving.localDescription)
        await until(lambda: len(taken) > 20, "packets")
        (thread,) = [vars(receiver)["_RTCRtpReceiver__decoder_thread"]]
        await until(lambda: not thread.is_alive(), "aiortc's thread has nothing to do")
        steps = {
            (later - former) % (1 << 32) for (former, _), (later, _) in zip(taken, taken[1:], strict=False)
        }
        assert 960 in steps and all(step % 960 == 0 for step in steps)
        assert all(isinstance(data, bytes) and data for _, data in taken)
        await sender.close()
        count = len(taken)
        await receiver._handle_rtp_packet(RtpPacket(payload_type=77, sequence_number=1), 0)
        assert len(taken) == count, "of a payload type that was not agreed on"
    finally:
        await asyncio.gather(sender.close(), receiving.close())
