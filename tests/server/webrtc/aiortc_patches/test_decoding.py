"""Laws of what stands where aiortc keeps the queue to its decoder thread. Packets come without a network."""

import asyncio
import threading
from collections.abc import AsyncIterator
from fractions import Fraction

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.rtp import RtcpByePacket, RtpPacket
from av import VideoFrame

from server.media.coded_size import SizeRejected
from server.media.images import ImageRejected
from server.media.rtp_decoder import RtpDecoder
from server.webrtc.aiortc_patches.decoding import MAX_WAITING, Decoding
from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer
from server.webrtc.aiortc_patches.loss_recovery import GIVE_UP_S, LOOK_PERIOD_S
from tests.server.running import PATIENCE_S, until

CODECS = {
    97: RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97),
    99: RTCRtpCodecParameters(mimeType="video/H264", clockRate=90_000, payloadType=99),
}
BOMB = b"\x10\0\0\x9d\x01\x2a\x80\x3e\x80\x3e" + bytes(424)  # a VP8 key frame that claims 16000x16000


class Receiving:
    """A started receiver, to which packets come by hand."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.receiver = self.pc.addTransceiver("video").receiver
        self.track = self.receiver._track = RemoteStreamTrack("video")
        use_marker_jitter_buffer(self.receiver)
        self.rejected: list[str] = []
        self.dropped = 0
        self.withheld: list[RtpPacket] | None = None  # not None: what is sent, for now
        self.decoding = Decoding(self.receiver, lambda error: self.rejected.append(error.size), self._drop)
        self.encoders = {97: Vp8Encoder(), 99: H264Encoder()}
        self._sequence = self._timestamp = self._filmed = 0

    def _drop(self, count: int) -> None:
        self.dropped += count

    async def start(self) -> None:
        await self.receiver.receive(RTCRtpReceiveParameters(codecs=list(CODECS.values())))

    async def film(self, grey: int, size: tuple[int, int] = (64, 48), kind: int = 97, key: bool = False):
        frame = VideoFrame.from_ndarray(np.full((size[1], size[0], 3), grey, np.uint8), format="rgb24")
        self._filmed += 3000
        frame.pts, frame.time_base = self._filmed, Fraction(1, 90_000)
        await self.send(self.encoders[kind].encode(frame, key)[0], kind)

    async def send(self, payloads: list[bytes], kind: int = 97) -> None:
        """The packets of one picture."""
        self._timestamp = (self._timestamp + 3000) % (1 << 32)
        for payload in payloads:
            self._sequence = (self._sequence + 1) % (1 << 16)
            packet = RtpPacket(payload_type=kind, sequence_number=self._sequence, timestamp=self._timestamp)
            packet.ssrc, packet.payload, packet.marker = 1234, payload, int(payload is payloads[-1])
            if self.withheld is None:
                await self.receiver._handle_rtp_packet(packet, arrival_time_ms=0)
            else:
                self.withheld.append(packet)

    async def release(self) -> None:
        """What was withheld comes after all."""
        packets, self.withheld = self.withheld or [], None
        for packet in packets:
            await self.receiver._handle_rtp_packet(packet, arrival_time_ms=0)

    async def bomb(self) -> None:
        await self.send([b"\x10" + BOMB])

    async def next(self) -> VideoFrame:
        return await asyncio.wait_for(self.track.recv(), PATIENCE_S)

    async def grey(self) -> int:
        return round(float((await self.next()).to_ndarray(format="rgb24").mean()))

    def threads(self) -> int:
        return sum(thread.name == "video-decoder" for thread in threading.enumerate())


@pytest.fixture
async def receiving() -> AsyncIterator[Receiving]:
    receiving = Receiving()
    await receiving.start()
    yield receiving
    await receiving.receiver.stop()
    await receiving.decoding.close()
    await receiving.pc.close()
    assert receiving.threads() == 0


class Held:
    """Makes decoders wait in their thread until they are released, at first and again."""

    def __init__(self, monkeypatch) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        decode = RtpDecoder.decode

        def held(decoder, *picture):
            self.begun.set()
            assert self.released.wait(PATIENCE_S)
            return decode(decoder, *picture)

        monkeypatch.setattr(RtpDecoder, "decode", held)

    async def until_begun(self) -> None:
        await asyncio.to_thread(self.begun.wait, PATIENCE_S)


@pytest.fixture
def held(monkeypatch):
    held = Held(monkeypatch)
    yield held
    held.released.set()


@pytest.mark.parametrize("kind", [97, 99])
async def test_pictures_of_both_codecs_come_with_their_times(receiving, kind):
    receiving._timestamp = (1 << 32) - 4000  # it wraps in between
    for number in range(4):
        await receiving.film(100 + 10 * number, kind=kind)
        frame = await receiving.next()
        assert (frame.pts, frame.time_base) == (3000 * number, Fraction(1, 90_000))
        assert abs(frame.to_ndarray(format="rgb24").mean() - 100 - 10 * number) < 4


@pytest.mark.parametrize("kind", [97, 99])
async def test_law_a_picture_that_is_too_large_is_told_and_never_decoded(receiving, kind, monkeypatch):
    decoded: list[tuple[int, int]] = []
    decode = RtpDecoder.decode

    def noting(decoder, *picture):
        frames = decode(decoder, *picture)
        decoded.extend((frame.width, frame.height) for frame in frames)
        return frames

    monkeypatch.setattr(RtpDecoder, "decode", noting)
    await receiving.film(100, (64, 48), kind)
    await receiving.next()
    monkeypatch.setattr("server.media.frames.MAX_CAMERA_PIXELS", 100 * 100)
    for grey in (100, 110, 120):  # a key frame, and two that build on it
        await receiving.film(grey, (128, 96), kind)
    await receiving.film(90, (64, 48), kind)
    assert abs(await receiving.grey() - 90) < 4, "it goes on with the next that is not"
    assert receiving.rejected == ["128x96"] and receiving.dropped == 2
    assert set(decoded) == {(64, 48)}
    assert not receiving.decoding.wants_entry, "another key frame would be as large"


async def test_law_bombs_cost_nothing_and_the_camera_goes_on(receiving):
    for _ in range(40):
        await receiving.bomb()
        await asyncio.sleep(0)
    await until(lambda: receiving.rejected, "one is told")
    assert set(receiving.rejected) == {"16000x16000"}
    await receiving.film(80)
    assert abs(await receiving.grey() - 80) < 4


async def test_law_what_waits_for_the_decoder_is_bounded_and_goes_on_with_a_key_frame(receiving, held):
    for number in range(3 * MAX_WAITING):
        await receiving.film(number)
        if number == 0:
            await held.until_begun()  # it has the first in hand
        assert len(receiving.decoding._waiting) <= MAX_WAITING
    held.released.set()
    await until(lambda: receiving.decoding.wants_entry, "a key frame is asked for")
    assert await receiving.grey() in range(5), "that which it had in hand"
    await until(lambda: receiving.dropped == 3 * MAX_WAITING - 1, "every other is dropped, and counted")
    await receiving.film(200)
    await receiving.film(100, key=True)
    await receiving.film(110)
    assert abs(await receiving.grey() - 100) < 4 and abs(await receiving.grey() - 110) < 4
    assert not receiving.decoding.wants_entry and receiving.dropped == 3 * MAX_WAITING


async def test_law_what_waited_for_a_lost_packet_as_long_as_it_may_is_all_decoded(receiving):
    """At 60 pictures a second."""
    await receiving.film(0)
    await receiving.next()
    receiving.withheld = []
    await receiving.film(1)
    packets, receiving.withheld = receiving.withheld, None
    count = round(60 * (GIVE_UP_S + LOOK_PERIOD_S))
    for number in range(count):
        await receiving.film(number)
    assert receiving.track._queue.empty()
    receiving.withheld = packets
    await receiving.release()
    for _ in range(1 + count):
        await receiving.next()
    assert receiving.dropped == 0 and not receiving.decoding.wants_entry


@pytest.mark.parametrize("how", ["stop", "bye", "disconnect"])
async def test_law_nobody_waits_on_the_loop_for_a_decoder_that_is_at_work(receiving, held, how):
    for number in range(5):
        await receiving.film(number)
    await held.until_begun()
    receiver = receiving.receiver
    match how:  # each would wait for ever: the decoder is released below
        case "stop":
            await receiver.stop()
        case "bye":
            await receiver._handle_rtcp_packet(RtcpByePacket(sources=[1234]))
        case _:
            receiver._handle_disconnect()
    assert receiving.threads() == 1 and not receiving.decoding._waiting
    await receiving.film(9)  # what still comes
    assert not receiving.decoding._waiting
    held.released.set()
    await receiver.stop()
    await receiving.decoding.close()
    assert receiving.threads() == 0
    assert receiving.track._queue.empty(), "what it had decoded is freed"


async def test_a_picture_that_cannot_be_read_has_a_key_frame_asked_for_and_others_decoded(receiving):
    await receiving.film(100)
    await receiving.next()
    await receiving.send([b"\x10\x01"])
    await until(lambda: receiving.decoding.wants_entry, "a key frame is wanted")
    await receiving.film(110)
    assert abs(await receiving.grey() - 110) < 4
    assert receiving.decoding.wants_entry
    await receiving.film(120, key=True)
    await receiving.next()
    assert not receiving.decoding.wants_entry and receiving.dropped == 0


async def test_a_receiver_that_never_began_is_closed_too():
    receiving = Receiving()
    await receiving.receiver.stop()
    await receiving.decoding.close()
    await receiving.pc.close()


async def test_the_places_have_not_moved():
    with pytest.raises(AttributeError):
        Decoding(object(), print, print)  # pyright: ignore[reportArgumentType] stands for another aiortc


def test_what_is_not_taken_is_a_picture_rejected():
    assert issubclass(SizeRejected, ImageRejected)
