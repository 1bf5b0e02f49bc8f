"""Limits of one connection, on aiortc's own objects: they fail too where a later aiortc works otherwise."""

import struct

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import DATA_CHANNEL_OPEN, WEBRTC_DCEP, DataChunk

from server.webrtc.aiortc_patches.packet_limits import (
    BINARY,
    DATA_PER_SECOND,
    FEEDBACK_PER_SECOND,
    MAX_HELD_BYTES,
    MAX_HELD_CHUNKS,
    MAX_STREAMS,
    MEDIA_PER_SECOND,
    STRING,
    limit_packets,
)
from tests.server.running import until

FIRST, LAST = 2, 1  # flags of a DATA chunk


class Limited:
    """A connection with a data channel, and why its limits were passed."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.channel = self.pc.createDataChannel("control")
        self.pc.addTransceiver("video")
        self.reasons: list[str] = []
        self.sctp = self.pc.sctp
        self.tsn = 1
        self.sctp._last_received_tsn = 0
        limit_packets(self.pc, self.reasons.append)

    async def data(self, flags: int, size: int, stream: int = 1, gap: int = 1) -> None:
        chunk = DataChunk(flags=flags)
        chunk.tsn, chunk.stream_id, chunk.user_data, chunk.protocol = self.tsn, stream, bytes(size), BINARY
        self.tsn += gap
        await self.sctp._receive_data_chunk(chunk)

    @property
    def held(self) -> int:
        """Bytes of messages that are not whole."""
        streams = self.sctp._inbound_streams.values()
        return sum(len(chunk.user_data) for stream in streams for chunk in stream.reassembly)


@pytest.fixture
async def limited():
    limited = Limited()
    yield limited
    await limited.pc.close()


async def test_law_a_message_without_end_is_not_kept_without_end(limited):
    await limited.data(FIRST, 1200)
    for _ in range(1000):
        await limited.data(0, 1200)
    assert limited.held <= MAX_HELD_BYTES + 1200
    assert len(limited.reasons) == 1 and "256 KiB" in limited.reasons[0]


async def test_law_many_messages_without_end_are_as_bad_as_one(limited):
    for number in range(1000):
        await limited.data(FIRST, 1200, stream=number % 50)
    assert limited.held <= MAX_HELD_BYTES + 1200 and len(limited.reasons) == 1


@pytest.mark.parametrize(("gap", "stream"), [(1, 1), (2, 1)])
async def test_law_tiny_fragments_and_gaps_are_counted_too(limited, gap, stream):
    for _ in range(2 * MAX_HELD_CHUNKS):
        await limited.data(FIRST, 1, stream, gap)
    assert len(limited.sctp._inbound_streams[1].reassembly) <= MAX_HELD_CHUNKS + 1
    assert len(limited.reasons) == 1


async def test_law_streams_are_counted(limited):
    for number in range(2 * MAX_STREAMS):
        await limited.data(FIRST | LAST, 1, stream=number)
    assert len(limited.sctp._inbound_streams) == MAX_STREAMS + 1 and len(limited.reasons) == 1


async def test_the_largest_message_of_a_browser_arrives_as_often_as_it_likes(limited):
    for _ in range(20):
        await limited.data(FIRST, 1200)
        for _ in range(53):
            await limited.data(0, 1200)
        await limited.data(LAST, 1200)
    assert limited.reasons == [] and limited.held == 0


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("handle", "rate"),
    [
        ("_handle_rtp_data", MEDIA_PER_SECOND),
        ("_handle_rtcp_data", FEEDBACK_PER_SECOND),
        ("_handle_data", DATA_PER_SECOND),
    ],
)
async def test_law_a_flood_of_packets_is_told_once_and_then_not_looked_at(limited, handle, rate):
    dtls = limited.pc.getTransceivers()[0].receiver.transport
    where = limited.sctp if handle == "_handle_data" else dtls
    options = {"arrival_time_ms": 0} if handle == "_handle_rtp_data" else {}
    for _ in range(int(2 * rate)):
        await getattr(where, handle)(b"\x80\x60junk", **options)
    assert limited.reasons == []
    for _ in range(10):
        await getattr(where, handle)(b"\x80\x60junk", **options)
    assert len(limited.reasons) == 1 and f"{rate:g}" in limited.reasons[0]
    await limited.data(FIRST, 1200)
    assert limited.held == 0, "nothing more is handled"


async def test_text_that_is_no_utf_8_is_delivered_as_bytes(limited):
    limited.sctp._data_channels[1] = limited.channel
    got = []
    limited.channel.on("message", got.append)
    await limited.sctp._data_channel_receive(1, STRING, b"\xff\xfe")
    await limited.sctp._data_channel_receive(1, STRING, b"text")
    assert got == [b"\xff\xfe", "text"]


@pytest.mark.parametrize(
    "data",
    [
        bytes([DATA_CHANNEL_OPEN]) + bytes(7) + b"\x00\x02\x00\x00" + b"\xff\xff",
        bytes([DATA_CHANNEL_OPEN]) + bytes(11),  # of a channel that is open
        b"\x02",  # an ack of one that is not
    ],
)
async def test_a_broken_or_second_opening_raises_nothing(limited, data):
    limited.sctp._data_channels[1] = limited.channel
    stream = 1 if len(data) == 12 else 2
    await limited.sctp._data_channel_receive(stream, WEBRTC_DCEP, data)


async def test_what_a_parser_raises_of_a_broken_packet_ends_nothing():
    pc = RTCPeerConnection()
    dtls = pc.addTransceiver("video").receiver.transport

    async def parse(data: bytes) -> None:
        struct.unpack("!L", data)

    dtls._handle_rtcp_data = parse
    limit_packets(pc, lambda reason: None)
    await dtls._handle_rtcp_data(b"\xff")
    await pc.close()


async def test_a_connection_says_what_it_answers_and_goes_on_after_text_that_is_no_utf_8(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await viewer.control.transport._send(viewer.control.id, STRING, b'{"type": "ping", "id": "\xff"}')
        error = await viewer.message("error", code="invalid")
        assert "UTF-8" in error["message"]
        viewer.send({"type": "ping", "id": "7"})
        await viewer.message("pong", id="7")


async def test_law_who_floods_a_data_channel_is_told_and_closed_and_may_not_return(server):
    async with server.viewer() as viewer:
        await viewer.live()
        for number in range(400):
            viewer.send({"type": "ping", "id": f"{number}"})
        await viewer.message("error", code="rate")
        await server.empty()
        assert len(viewer.received("error", code="rate")) <= 2
        again = await viewer.post(viewer.pc.localDescription.sdp, session=viewer.location.rpartition("/")[2])
        assert again.status == 404


async def test_law_who_opens_many_data_channels_is_closed(server):
    async with server.viewer() as viewer:
        await viewer.live()
        for number in range(40):
            viewer.pc.createDataChannel(f"junk {number}")
        await until(lambda: viewer.pc.connectionState in ("closed", "failed"), "it is closed")
    await server.empty()
