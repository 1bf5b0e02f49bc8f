import asyncio
import json
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription

from server.access.validity import EXPIRED, LOGGED_OUT, EndedLogins, Login, Validity
from server.engine.client import EngineClient
from server.metrics import Metrics
from server.protocol.replies import Pong, Telemetry
from server.services import Services
from server.session.channel import MAX_CLIENTS
from server.session.session import LiveSession
from server.settings import Settings, load_settings
from server.webrtc.peer import MAX_UNREAD_CONTROL_BYTES, MAX_UNREAD_TELEMETRY_BYTES, WebRtcPeer
from server.webrtc.sdp_sections import InvalidOffer
from server.webrtc.viewer import Viewer
from tests.server.running import PATIENCE_S, running_server, until
from tests.server.webrtc.offers import broken, offer_of, published

NO_OFFER: Any = None  # for a peer that is not begun


def peer_of(worker: EngineClient, settings: Settings) -> WebRtcPeer:
    return WebRtcPeer(LiveSession("abc", Services(settings, worker, Metrics())), settings, NO_OFFER)


@pytest.fixture
async def peer(settings, worker):
    peer = peer_of(worker, settings)
    yield peer
    await peer.close()


async def test_answer_sends_h264_first_and_asks_for_a_full_picture(peer):
    answer = SessionDescription.parse(await peer.accept(published(await offer_of(("video", "sendrecv")))))
    (video,) = answer.media
    assert video.direction == "sendrecv"
    names = [codec.name for codec in video.rtp.codecs]
    assert names[0] == "H264" and "VP8" in names and "rtx" in names
    for codec in video.rtp.codecs:
        assert ("x-google-start-bitrate" in codec.parameters) == (codec.name != "rtx")
        assert "x-google-min-bitrate" not in codec.parameters, "a slower line would carry no whole picture"


@pytest.mark.parametrize("is_back", [False, True])
async def test_who_takes_a_session_up_may_return_before_it_is_connected(settings, worker, is_back):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    peer = WebRtcPeer(session, settings, NO_OFFER, is_back=is_back)
    assert peer.may_return is is_back
    await peer.close()


async def test_an_offer_that_does_not_watch_is_accepted(peer):
    answer = SessionDescription.parse(await peer.accept(published(await offer_of(("video", "sendonly")))))
    assert answer.media[0].direction == "recvonly"


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
async def test_an_offer_with_audio_is_answered_as_it_was_made(peer, offered, answered):
    offer = await offer_of(("video", "sendrecv"), ("audio", offered))
    answer = SessionDescription.parse(await peer.accept(published(offer)))
    assert [(m.kind, m.direction) for m in answer.media] == [("video", "sendrecv"), ("audio", answered)]


async def test_only_ice_servers_of_the_settings_are_used(worker):
    settings = load_settings({"ice_servers": ["stun:127.0.0.1:9"]})
    for peer, count in (
        (peer_of(worker, settings), 1),
        (peer_of(worker, load_settings({})), 0),
    ):
        configuration = peer._connection._pc._RTCPeerConnection__configuration  # aiortc has no getter
        assert len(configuration.iceServers) == count
        await peer.close()


@pytest.mark.parametrize(
    ("offer", "told"),
    [
        ("", "no SDP"),
        ("hello", "no SDP"),
        ("v=0\r\nm=video\r\n", "no SDP"),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtcp-mux\r\na=candidate:1\r\n", "offered none"),
        (
            "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
            "no ICE credentials",
        ),
    ],
)
async def test_what_is_no_offer_is_refused_with_the_reason(peer, offer, told):
    with pytest.raises(InvalidOffer, match=told):
        await peer.accept(published(offer))


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
        await peer.accept(published(await offer_of(*tracks, channel=True)))


class Channel:
    """A data channel whose client has left so many bytes unread."""

    def __init__(self, label: str, bufferedAmount: int = 0) -> None:
        self.label, self.bufferedAmount = label, bufferedAmount
        self.readyState = "open"
        self.sent: list[str] = []

    def on(self, event: str, call: object) -> None:
        pass

    def send(self, text: str) -> None:
        self.sent.append(text)

    def close(self) -> None:
        self.readyState = "closed"


def told(peer: WebRtcPeer, count: int) -> None:
    """The session tells its clients something, so many times."""
    for _ in range(count):
        peer.session.channels.send(Pong(id="x"))


def figures(peer: WebRtcPeer, count: int) -> None:
    for _ in range(count):
        telemetry = Telemetry(depth_preview=None, timeline_position=None, **dict(peer.session.figures()))
        peer.session.channels.send_telemetry(telemetry)


async def test_who_does_not_read_its_control_channel_is_given_up_for_good(peer, caplog):
    caplog.set_level("INFO")
    channel = Channel("control", MAX_UNREAD_CONTROL_BYTES)
    peer._connection.was_connected = True
    peer._on_channel(channel)
    told(peer, 3)
    assert channel.sent and not peer._connection.is_over, "so much may wait"
    channel.sent.clear()
    channel.bufferedAmount += 1
    told(peer, 3)
    assert channel.sent == [] and peer.may_return is False
    await asyncio.wait_for(peer.attend(), PATIENCE_S)
    assert "it does not read its control channel" in caplog.text


async def test_figures_that_are_not_read_are_dropped_and_end_nothing(peer):
    channel = Channel("telemetry", MAX_UNREAD_TELEMETRY_BYTES)
    peer._on_channel(channel)
    figures(peer, 1)
    assert len(channel.sent) == 1
    channel.bufferedAmount += 1
    figures(peer, 3)
    assert len(channel.sent) == 1 and not peer._connection.is_over
    channel.bufferedAmount = 0
    figures(peer, 1)
    assert len(channel.sent) == 2


@pytest.mark.parametrize("label", ["control", "telemetry"])
async def test_nothing_is_sent_on_a_channel_that_is_not_open(peer, label):
    channel = Channel(label)
    peer._on_channel(channel)
    channel.sent.clear()
    channel.readyState = "closing"
    told(peer, 1)
    figures(peer, 1)
    assert channel.sent == []


@pytest.mark.parametrize("label", ["control", "telemetry", "other"])
async def test_a_second_channel_of_a_kind_and_others_are_closed(peer, label):
    channels = [Channel(label), Channel(label)]
    for channel in channels:
        peer._on_channel(channel)
    assert [channel.readyState for channel in channels] == [
        "closed" if label == "other" else "open",
        "closed",
    ]


async def test_a_channel_that_finds_no_room_is_closed(peer, caplog):
    for _ in range(MAX_CLIENTS):
        peer.session.join(lambda text: None)
    channel = Channel("control")
    peer._on_channel(channel)
    assert channel.readyState == "closed" and "8 clients listen" in caplog.text


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_logged_out", [True, False])
async def test_law_a_connection_ends_with_its_token_or_its_login_told_before(settings, worker, is_logged_out):
    loop, ended = asyncio.get_running_loop(), EndedLogins()
    validity = Validity(None if is_logged_out else loop.time() + 5, Login("ann", 2), ended)
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    peer = WebRtcPeer(session, settings, NO_OFFER, validity=validity)
    peer._connection.was_connected = True
    channel = Channel("control")
    peer._on_channel(channel)
    attending = asyncio.create_task(peer.attend())

    def errors() -> list[str]:
        told = map(json.loads, channel.sent)
        return [message["message"] for message in told if message["type"] == "error"]

    await asyncio.sleep(4.9)
    ended.add(Login("ann", 1))
    ended.add(Login("eve", 2))
    assert not attending.done() and not errors()
    if is_logged_out:
        ended.add(Login("ann", 2))
    await asyncio.sleep(0.5)
    words = LOGGED_OUT if is_logged_out else EXPIRED
    assert errors() == [f"this connection ends: {words}"]
    assert not attending.done(), "the words are to arrive"
    await asyncio.sleep(0.5)
    assert attending.done() and peer.may_return is not is_logged_out
    await peer.close()


@pytest.mark.virtual_time
async def test_law_a_viewer_ends_with_its_token(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    viewer = Viewer("v", session, settings, Validity(asyncio.get_running_loop().time() + 5))
    attending = asyncio.create_task(viewer.attend())
    await asyncio.sleep(4.9)
    assert not attending.done()
    await asyncio.sleep(1)
    assert attending.done() and viewer.end_reason == EXPIRED
    await viewer.close()
    await session.close()


@pytest.mark.parametrize(("state", "may_return"), [("connecting", False), ("connected", True)])
async def test_who_has_been_connected_may_return(peer, monkeypatch, state, may_return):
    with monkeypatch.context() as patch:
        patch.setattr(RTCPeerConnection, "connectionState", state)
        peer._connection._on_connection_state()
    assert peer.may_return is may_return and not peer._connection.is_over


async def test_a_connection_that_failed_ends_the_peer_and_its_session_waits(peer, monkeypatch, caplog):
    caplog.set_level("INFO")
    peer._connection.was_connected = True
    with monkeypatch.context() as patch:
        patch.setattr(RTCPeerConnection, "connectionState", "failed")
        peer._connection._on_connection_state()
    assert peer.may_return is True and peer._connection.is_over and "ends: connection failed" in caplog.text


async def test_the_first_word_about_a_return_counts(peer):
    peer.hang_up("first", may_return=True)
    peer.hang_up("second", may_return=False)
    peer.hang_up("third")
    assert peer.may_return is True


@pytest.mark.parametrize("answer", [None, "the server's side"])
async def test_an_ice_restart_may_have_lost_heartbeats_and_candidates_have_not(peer, monkeypatch, answer):
    async def add(fragment: object) -> str | None:
        return answer

    monkeypatch.setattr(peer._connection._trickle, "add", add)
    later = asyncio.get_running_loop().time() + 1e6
    peer.session.receive('{"type": "ping", "id": "1"}', lambda text: None, is_peer=True)
    assert await peer.add_candidates(None) == answer
    assert peer.session.channels.is_lost(later) is (answer is None)


async def test_pictures_have_the_quality_that_was_asked_for(peer):
    assert peer._connection._quality() == "high"
    peer.session.ask('{"type": "output.set", "id": "1", "quality": "low"}')
    assert peer._connection._quality() == "low"


@pytest.mark.parametrize("keeps_session", [True, False])
async def test_closed_it_listens_no_more_and_ends_its_session_unless_that_is_kept(
    settings, worker, keeps_session
):
    peer = peer_of(worker, settings)
    for label in ("control", "telemetry"):
        peer._on_channel(Channel(label))
    assert peer.session.channels.is_watched
    await peer.close(keeps_session=keeps_session)
    assert not peer.session.channels.is_watched and peer.session.channels._clients == []
    assert peer.session.playout.broadcast.is_over is not keeps_session
    await peer.session.close()


async def test_an_offer_of_unknown_codecs_only_is_refused(peer):
    offer = (await offer_of(("video", "sendrecv"))).replace("VP8", "VP9").replace("H264", "AV1")
    with pytest.raises(InvalidOffer, match="offered AV1, VP9, expected H264 or VP8|offered VP9, .*AV1"):
        await peer.accept(published(offer))


async def test_broken_offers_raise_nothing_else(settings, worker):
    for text in broken(await offer_of(("video", "sendrecv"))):
        peer = peer_of(worker, settings)
        try:
            await peer.accept(published(text))
        except InvalidOffer:
            pass
        await peer.close()


async def test_a_peer_that_never_connects_is_given_up_for_good(worker, caplog):
    caplog.set_level("INFO")
    peer = peer_of(worker, load_settings({"peer_timeout": 0.2}))
    await peer.accept(published(await offer_of(("video", "sendrecv"))))
    await asyncio.wait_for(peer.attend(), PATIENCE_S)
    assert peer.may_return is False and "not connected within 0.2 s" in caplog.text
    await peer.close()


async def test_heartbeat_that_stops_ends_the_peer(engine, caplog):
    caplog.set_level("INFO")
    async with (
        running_server(load_settings({"peer_timeout": 3.0}), engine) as server,
        server.viewer() as viewer,
    ):
        assert (await server.json("/api/info"))["sessions"] == 1
        viewer.send({"type": "ping", "id": "1"})
        await viewer.message("pong", id="1")
        await until(lambda: viewer.pc.connectionState == "closed", "the server hangs up")
        await server.empty()
    assert "no heartbeat for 3 s" in caplog.text


async def test_closing_twice_and_before_accepting_is_fine(settings, worker):
    peer = peer_of(worker, settings)
    await peer.close()
    await peer.close()
    assert peer._connection._pc.connectionState == "closed"
    await asyncio.wait_for(peer.attend(), PATIENCE_S)
