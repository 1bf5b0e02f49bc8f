"""What a peer and a viewer have in common, without a network."""

import asyncio
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription

from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer
from server.webrtc.aiortc_patches.sources import FewSources
from server.webrtc.connection import WebRtcConnection
from server.webrtc.offer import Offer
from server.webrtc.peer import WebRtcPeer
from server.webrtc.viewer import Viewer
from tests.server.running import PATIENCE_S, until
from tests.server.webrtc.offers import offer_of, published, watched
from tests.server.webrtc.sdp_texts import CLIENTS
from tests.server.webrtc.test_peer import NO_OFFER


@pytest.fixture
async def session(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    yield session
    await session.close()


@pytest.fixture
async def connection(session, settings):
    connection = WebRtcConnection(session, settings, "somebody")
    yield connection
    await connection.close()


def drains() -> int:
    """Tasks that read a track."""
    return sum(getattr(task.get_coro(), "__qualname__", "") == "drain" for task in asyncio.all_tasks())


async def test_a_cameras_frames_wait_for_none_after_them(session, settings):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    await connection.answer(published(await offer_of(("video", "sendrecv"))))
    (transceiver,) = connection._pc.getTransceivers()
    buffer = vars(transceiver.receiver)["_RTCRtpReceiver__jitter_buffer"]  # aiortc has no getter
    assert isinstance(buffer, MarkerJitterBuffer)
    await connection.close()


@pytest.mark.parametrize(("kind", "quality"), [(WebRtcPeer, "low"), (Viewer, "high")])
async def test_the_bitrate_is_held_before_each_picture(session, settings, kind, quality):
    """A peer's as it asked; what one person asks for is not what others see."""
    session.ask('{"type": "output.set", "id": "1", "quality": "low"}')
    member = kind(session, settings, NO_OFFER) if kind is WebRtcPeer else kind("v", session, settings)
    connection, held = member._connection if kind is WebRtcPeer else member, []
    for number in range(3):
        if number == 1:  # before the answer there is nothing to hold
            connection._bitrate = SimpleNamespace(hold=lambda quality, now: held.append(quality))
        receiving = asyncio.create_task(connection._track.recv())
        await asyncio.sleep(0)
        session.playout.broadcast.publish(np.zeros((48, 64, 3), np.uint8), number)
        await receiving
    assert held == [quality] * 2
    await member.close()


def unread(text: str) -> Offer:
    """With all that was offered, as if nothing had been taken out of it."""
    return replace(published(text), sdp=text)


async def directions_answered(connection: WebRtcConnection, *tracks: tuple[str, str]) -> list[str]:
    answer = SessionDescription.parse(await connection.answer(unread(await offer_of(*tracks))))
    return [str(media.direction) for media in answer.media]


@pytest.mark.parametrize("kind", ["sendrecv", "sendonly"])
async def test_law_of_thirty_video_tracks_one_is_received(session, settings, kind):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    found = await directions_answered(connection, ("audio", "sendrecv"), *[("video", kind)] * 30)
    assert found == ["inactive", "sendrecv" if kind == "sendrecv" else "recvonly", *["inactive"] * 29]
    assert drains() == 1
    await connection.close()
    assert drains() == 0


SOUND = ("audio", "recvonly")
CHANNEL = ("application", "webrtc-datachannel")
# Of each m-line that is answered, in order: kind, direction and codecs, then the H.264 profile of the first,
# which is the one used.
ANSWERS = {
    "plain": [("video", "recvonly", "H264", "42e01f")],
    "Safari": [SOUND, ("video", "sendrecv", "H264 rtx H264 rtx VP8 H264 rtx", "42e01f"), CHANNEL],
    "OBS": [SOUND, ("video", "recvonly", "H264", "64001f")],
    "GStreamer": [("video", "recvonly", "H264", "4d401f"), SOUND],
    "Firefox": [("video", "sendrecv", "H264 rtx VP8 rtx H264 rtx", "42e01f"), CHANNEL],
    "FFmpeg": [SOUND, ("video", "recvonly", "H264", "42c01f")],
    "werift 0.24": [("video", "recvonly", "VP8", None)],
    "webrtcbin 1.22": [("video", "recvonly", "H264", "42c016")],
    "Firefox 153 without H.264": [("video", "sendrecv", "VP8 rtx", None)],
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_each_client_is_answered_with_its_sections_directions_and_codecs(session, settings, name):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    offer = published(CLIENTS[name])
    description = SessionDescription.parse(offer.answered(await connection.answer(offer)))
    found = []
    for media in description.media:
        assert media.port != 0
        codecs = media.rtp.codecs
        if media.kind == "video":
            names = " ".join(codec.name for codec in codecs)
            found.append(("video", media.direction, names, codecs[0].parameters.get("profile-level-id")))
            assert connection.codec == codecs[0].name.lower()
        else:
            found.append((media.kind, media.direction or media.fmt[0]))
    assert found == ANSWERS[name]
    await connection.close()


@pytest.mark.parametrize("way", ["sendrecv", "sendonly", "recvonly", "inactive"])
@pytest.mark.parametrize("receives", [True, False])
async def test_law_without_audio_no_sound_is_taken_or_sent(session, settings, way, receives):
    silent = settings.model_copy(update={"audio": False})
    connection = WebRtcConnection(session, silent, "somebody", receives=receives)
    read = published if receives else watched
    answer = await connection.answer(read(await offer_of(("video", "sendrecv"), ("audio", way))))
    assert SessionDescription.parse(answer).media[1].direction == "inactive"
    await connection.close()


async def test_sound_that_is_not_opus_is_not_taken(session, settings):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    offer = re.sub(
        "(?m)^a=rtpmap:[0-9]+ opus.*$", "a=x", await offer_of(("video", "sendrecv"), ("audio", "sendrecv"))
    )
    answer = SessionDescription.parse(await connection.answer(published(offer)))
    assert [(one.direction, one.rtp.codecs[0].name) for one in answer.media][1] == ("inactive", "G722")
    await connection.close()


async def test_pictures_and_sound_are_of_one_stream(session, settings):
    """Or a browser would not play them together."""
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    answer = await connection.answer(published(await offer_of(("video", "sendrecv"), ("audio", "sendrecv"))))
    streams = [str(one.msid).split()[0] for one in SessionDescription.parse(answer).media]
    assert len(streams) == 2 and len(set(streams)) == 1
    await connection.close()


async def test_law_who_watches_sends_nothing(connection):
    tracks = ("video", "sendrecv"), ("audio", "sendonly"), ("video", "sendonly"), ("video", "sendrecv")
    assert await directions_answered(connection, *tracks) == ["sendonly", "inactive", "inactive", "inactive"]
    assert drains() == 0


async def test_a_camera_on_another_track_than_that_which_is_watched_is_received(session, settings):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    tracks = ("video", "recvonly"), ("video", "sendonly"), ("video", "sendonly")
    assert await directions_answered(connection, *tracks) == ["sendonly", "recvonly", "inactive"]
    sending, camera, _ = connection._pc.getTransceivers()
    buffers = [
        vars(one.receiver)["_RTCRtpReceiver__jitter_buffer"] for one in (sending, camera)
    ]  # aiortc has no getter
    assert [isinstance(buffer, MarkerJitterBuffer) for buffer in buffers] == [False, True]
    await connection.close()


async def test_closed_it_reads_and_sends_nothing_more(session, settings):
    connection = WebRtcConnection(session, settings, "somebody", receives=True)
    await connection.answer(published(await offer_of(("video", "sendrecv"))))
    receiving = asyncio.create_task(connection._track.recv())
    await until(lambda: session.playout.broadcast.is_watched, "it sends what there is")
    assert drains() == 1
    await asyncio.wait_for(connection.close(), PATIENCE_S)
    assert drains() == 0 and not session.playout.broadcast.is_watched
    assert connection._pc.connectionState == "closed"
    await asyncio.gather(receiving, return_exceptions=True)


async def test_one_that_does_not_close_is_left_behind(connection, monkeypatch, caplog):
    monkeypatch.setattr("server.webrtc.connection.CLOSE_TIMEOUT_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(connection._pc, "close", asyncio.Event().wait)
        await connection.close()
    assert "did not close within 0.01 s; leaving it behind" in caplog.text


async def test_what_nobody_makes_more_of_is_closed(connection):
    closed = []
    await connection.answer(watched(await offer_of(("video", "recvonly"))))
    channel = SimpleNamespace(transport=SimpleNamespace(_data_channel_close=closed.append))
    connection._pc.emit("datachannel", channel)
    assert closed == [channel]


@pytest.mark.parametrize(("state", "is_over"), [("new", True), ("connecting", True), ("connected", False)])
async def test_only_one_that_never_connects_is_late(session, settings, monkeypatch, caplog, state, is_over):
    caplog.set_level("INFO")
    monkeypatch.setattr("server.webrtc.connection.WATCH_PERIOD_S", 0.001)
    impatient = settings.model_copy(update={"peer_timeout": 0.01})
    looked = []
    connection = WebRtcConnection(session, impatient, "somebody", reason_to_end=looked.append)
    deadline = asyncio.get_running_loop().time() + 0.01
    with monkeypatch.context() as patch:
        patch.setattr(RTCPeerConnection, "connectionState", state)
        attending = asyncio.create_task(connection.attend())
        await until(lambda: attending.done() or len([now for now in looked if now > deadline]) > 5, "time")
        assert attending.done() is is_over
        connection.hang_up("enough")
        await attending
    words = "not connected within 0.01 s" if is_over else "enough"
    assert [text for text in caplog.messages if "ends" in text] == [f"somebody ends: {words}"]
    await connection.close()


@pytest.mark.parametrize(("state", "is_over"), [("connected", False), ("failed", True), ("closed", True)])
async def test_a_connection_that_is_over_ends_it(connection, monkeypatch, caplog, state, is_over):
    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setattr(RTCPeerConnection, "connectionState", state)
        connection._on_connection_state()
    assert connection.is_over is is_over
    assert (f"somebody ends: connection {state}" in caplog.text) is is_over


@pytest.mark.parametrize("receives", [True, False])
async def test_law_once_connected_it_hears_a_few_sources_alone(session, settings, monkeypatch, receives):
    connection = WebRtcConnection(session, settings, "somebody", receives=receives)
    await connection.answer(published(await offer_of(("video", "sendrecv"))))
    (transport,) = {one.receiver.transport for one in connection._pc.getTransceivers()}
    with monkeypatch.context() as patch:
        patch.setattr(transport, "_rx_srtp", object())  # as after the DTLS handshake
        patch.setattr(RTCPeerConnection, "connectionState", "connected")
        connection._on_connection_state()
        assert isinstance(transport._rx_srtp, FewSources)
    await connection.close()


async def test_it_ends_with_the_session(connection, session, caplog):
    caplog.set_level("INFO")
    assert connection._reason_to_end(0.0) is None
    await session.close()
    assert connection._reason_to_end(0.0) == "the session has ended"
