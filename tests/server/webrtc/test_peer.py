import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.sdp import SessionDescription

from server.metrics import Metrics
from server.settings import load_settings
from server.webrtc.connection import InvalidOffer
from server.webrtc.peer import Peer
from tests.server.running import PATIENCE_S, Camera, running_server, until


async def offer_of(*tracks: tuple[str, str], channel: bool = False) -> str:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind, direction in tracks:
        pc.addTransceiver(Camera() if kind == "video" else "audio", direction=direction)
    if channel:
        pc.createDataChannel("control")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = pc.localDescription.sdp
    await pc.close()
    return sdp


@pytest.fixture
async def peer(settings, worker):
    peer = Peer("abc", settings, worker, Metrics())
    yield peer
    await peer.close()


async def test_answer_sends_h264_first_and_asks_for_a_full_picture(peer):
    answer = SessionDescription.parse(await peer.accept(await offer_of(("video", "sendrecv"))))
    (video,) = answer.media
    assert video.direction == "sendrecv"
    names = [codec.name for codec in video.rtp.codecs]
    assert names[0] == "H264" and "VP8" in names and "rtx" in names
    for codec in video.rtp.codecs:
        assert ("x-google-min-bitrate" in codec.parameters) == (codec.name != "rtx")


async def test_an_offer_that_does_not_watch_is_accepted(peer):
    answer = SessionDescription.parse(await peer.accept(await offer_of(("video", "sendonly"))))
    assert answer.media[0].direction == "recvonly"


async def test_audio_is_accepted_and_not_sent(peer):
    offer = await offer_of(("video", "sendrecv"), ("audio", "sendrecv"))
    answer = SessionDescription.parse(await peer.accept(offer))
    assert [(m.kind, m.direction) for m in answer.media] == [("video", "sendrecv"), ("audio", "recvonly")]


async def test_only_ice_servers_of_the_settings_are_used(worker):
    settings = load_settings({"ice_servers": ["stun:127.0.0.1:9"]})
    for peer, count in (
        (Peer("a", settings, worker, Metrics()), 1),
        (Peer("b", load_settings({}), worker, Metrics()), 0),
    ):
        configuration = peer._pc._RTCPeerConnection__configuration  # aiortc has no getter
        assert len(configuration.iceServers) == count
        await peer.close()


@pytest.mark.parametrize(
    ("offer", "told"),
    [
        ("", "no SDP"),
        ("hello", "no SDP"),
        ("v=0\r\nm=video\r\n", "no SDP"),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:1\r\n", "no SDP"),
        (
            "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n",
            "cannot be answered: ICE",
        ),
    ],
)
async def test_what_is_no_offer_is_refused_with_the_reason(peer, offer, told):
    with pytest.raises(InvalidOffer, match=told):
        await peer.accept(offer)


@pytest.mark.parametrize(
    ("tracks", "told"),
    [
        ([], "no video: expected one"),
        ([("audio", "sendrecv")], "no video: expected one"),
        ([("video", "recvonly")], r"sends no video \(recvonly\): expected sendrecv or sendonly"),
    ],
)
async def test_an_offer_without_a_camera_is_refused_with_the_reason(peer, tracks, told):
    with pytest.raises(InvalidOffer, match=told):
        await peer.accept(await offer_of(*tracks, channel=True))


async def test_an_offer_of_unknown_codecs_only_is_refused(peer):
    offer = (await offer_of(("video", "sendrecv"))).replace("VP8", "VP9").replace("H264", "AV1")
    with pytest.raises(InvalidOffer, match="cannot be answered"):
        await peer.accept(offer)


async def test_broken_offers_raise_nothing_else(settings, worker):
    """Every single line left out, and every line cut short."""
    lines = (await offer_of(("video", "sendrecv"))).splitlines()
    broken = [lines[:n] + lines[n + 1 :] for n in range(len(lines))]
    broken += [[*lines[:n], lines[n][: len(lines[n]) // 2], *lines[n + 1 :]] for n in range(len(lines))]
    for text in broken:
        peer = Peer("abc", settings, worker, Metrics())
        try:
            await peer.accept("\r\n".join(text) + "\r\n")
        except InvalidOffer:
            pass
        await peer.close()


async def test_a_peer_that_never_connects_is_given_up(worker):
    peer = Peer("abc", load_settings({"peer_timeout": 0.2}), worker, Metrics())
    await peer.accept(await offer_of(("video", "sendrecv")))
    await asyncio.wait_for(peer.attend(), PATIENCE_S)
    await peer.close()


async def test_heartbeat_that_stops_ends_the_peer(engine):
    async with (
        running_server(load_settings({"peer_timeout": 3.0}), engine) as server,
        server.viewer() as viewer,
    ):
        viewer.send({"type": "ping", "id": "1"})
        await viewer.message("pong", id="1")
        assert (await server.json("/api/info"))["sessions"] == 1
        await until(lambda: viewer.pc.connectionState == "closed", "the server hangs up")
        assert (await server.json("/api/info"))["sessions"] == 0


async def test_closing_twice_and_before_accepting_is_fine(settings, worker):
    peer = Peer("abc", settings, worker, Metrics())
    await peer.close()
    await peer.close()
