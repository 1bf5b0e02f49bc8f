"""What a viewer is sent, and what it costs others: nothing."""

import asyncio

import pytest
from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription

from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.webrtc.sdp_sections import InvalidOffer
from server.webrtc.viewer import Viewer
from tests.server.running import PATIENCE_S, rounds_of_the_loop
from tests.server.webrtc.offers import broken, offer_of, watched


@pytest.fixture
async def session(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    yield session
    await session.close()


@pytest.fixture
async def viewer(session, settings):
    viewer = Viewer("v", session, settings)
    yield viewer
    await viewer.close()


async def test_the_answer_sends_pictures_and_sound(viewer):
    offer = await offer_of(("audio", "recvonly"), ("video", "recvonly"))
    answer = SessionDescription.parse(await viewer.accept(watched(offer)))
    assert [(m.kind, m.direction) for m in answer.media] == [("audio", "sendonly"), ("video", "sendonly")]
    assert answer.media[1].rtp.codecs[0].name == "H264"


async def test_what_a_viewer_sends_is_not_taken(session, settings):
    for sound, answered in (("sendrecv", "sendonly"), ("sendonly", "inactive"), ("inactive", "inactive")):
        viewer = Viewer("v", session, settings)
        offer = await offer_of(("audio", sound), ("video", "sendrecv"))
        answer = SessionDescription.parse(await viewer.accept(watched(offer)))
        assert [(m.kind, m.direction) for m in answer.media] == [("audio", answered), ("video", "sendonly")]
        await viewer.close()


@pytest.mark.parametrize(
    ("tracks", "told"),
    [
        ([("audio", "recvonly")], "no video: expected one video track, recvonly"),
        ([("video", "sendonly")], r"receives no video \(sendonly\): expected recvonly"),
    ],
)
async def test_an_offer_that_does_not_watch_is_refused(viewer, tracks, told):
    with pytest.raises(InvalidOffer, match=told):
        await viewer.accept(watched(await offer_of(*tracks)))


async def test_broken_offers_raise_nothing_else(session, settings):
    for text in [*broken(await offer_of(("video", "recvonly"))), "hello\r\n", "v=0\r\n"]:
        viewer = Viewer("v", session, settings)
        try:
            await viewer.accept(watched(text))
        except InvalidOffer:
            pass
        await viewer.close()


async def test_a_viewer_that_never_connects_is_given_up(session, settings, caplog):
    caplog.set_level("INFO")
    viewer = Viewer("v", session, settings.model_copy(update={"peer_timeout": 0.1}))
    await viewer.accept(watched(await offer_of(("video", "recvonly"))))
    await asyncio.wait_for(viewer.attend(), PATIENCE_S)
    assert "viewer v ends: not connected within 0.1 s" in caplog.text
    await viewer.close()


async def test_a_viewer_leaves_with_the_session(session, settings, caplog):
    caplog.set_level("INFO")
    viewer = Viewer("v", session, settings.model_copy(update={"peer_timeout": 1000 * PATIENCE_S}))
    await viewer.accept(watched(await offer_of(("video", "recvonly"))))
    attending = asyncio.create_task(viewer.attend())
    await session.close()
    await asyncio.wait_for(attending, PATIENCE_S)
    assert "viewer v ends: the session has ended" in caplog.text
    await viewer.close()
    await viewer.close()
    assert viewer._pc.connectionState == "closed" and viewer._track.readyState == "ended"


async def test_law_between_the_pieces_of_an_answer_the_loop_serves_others(viewer, monkeypatch):
    """Each piece takes milliseconds, and several offers may come together."""
    offer, at = watched(await offer_of(("video", "recvonly"))), []
    async with rounds_of_the_loop() as rounds:
        for name in ("addTransceiver", "setRemoteDescription", "createAnswer", "setLocalDescription"):
            original = getattr(RTCPeerConnection, name)

            def noted(self, *args, original=original, **options):
                at.append(rounds[0])
                return original(self, *args, **options)

            monkeypatch.setattr(RTCPeerConnection, name, noted)
        await viewer.accept(offer)
    assert len(at) == 4 and at == sorted(set(at)), at
