"""What a viewer is sent, and what it costs others: nothing."""

import asyncio

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from server.live.broadcast import Broadcast
from server.live.session import LiveSession
from server.metrics import Metrics
from server.webrtc.connection import InvalidOffer
from server.webrtc.tracks import OutputTrack
from server.webrtc.viewer import Viewer, ViewerTrack
from tests.server.running import PATIENCE_S
from tests.server.webrtc.test_tracks import Scene, value


def picture(grey: int) -> np.ndarray:
    return np.full((4, 4, 3), grey, np.uint8)


async def offer_of(*tracks: tuple[str, str]) -> str:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind, direction in tracks:
        pc.addTransceiver(kind, direction=direction)
    await pc.setLocalDescription(await pc.createOffer())
    sdp = pc.localDescription.sdp
    await pc.close()
    return sdp


@pytest.fixture
async def session(settings, worker):
    session = LiveSession("abc", settings, worker, Metrics())
    yield session
    await session.close()


@pytest.fixture
async def viewer(session, settings):
    viewer = Viewer("v", session, settings)
    yield viewer
    await viewer.close()


async def test_pictures_come_with_the_sessions_timestamps():
    broadcast, seen = Broadcast(), []
    track = ViewerTrack(broadcast)
    for pts in (100, 3100, 6100):
        broadcast.put(picture(pts % 256), pts)
        frame = await track.recv()
        seen.append((frame.pts, value(frame)))
    assert seen == [(100, 100), (3100, 3100 % 256), (6100, 6100 % 256)]


async def test_what_a_slow_encoder_is_late_for_is_left_out():
    broadcast = Broadcast()
    track = ViewerTrack(broadcast)
    for pts in (0, 3000, 6000):
        broadcast.put(picture(0), pts)
    assert (await track.recv()).pts == 6000
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    assert not receiving.done()
    broadcast.put(picture(0), 9000)
    assert (await receiving).pts == 9000


async def test_the_picture_comes_again_while_there_is_none_for_a_while(monkeypatch):
    monkeypatch.setattr("server.webrtc.viewer.HOLD_SPACING_S", 0.05)
    broadcast = Broadcast()
    track = ViewerTrack(broadcast)
    broadcast.put(picture(9), 0)
    pts = [(await track.recv()).pts for _ in range(3)]
    assert pts == [0, 4500, 9000]
    broadcast.put(picture(10), 9000)  # the media clock runs beside the viewer's
    frame = await track.recv()
    assert (value(frame), frame.pts) == (10, 9001)


async def test_each_frame_is_announced_before_it_is_given_out():
    broadcast, announced = Broadcast(), []
    track = ViewerTrack(broadcast, lambda: announced.append(1))
    broadcast.put(picture(0), 0)
    await track.recv()
    assert announced == [1]


async def test_the_track_ends_with_the_session():
    broadcast = Broadcast()
    track = ViewerTrack(broadcast)
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    broadcast.end()
    with pytest.raises(MediaStreamError):
        await receiving
    assert track.readyState == "ended"


async def test_a_viewer_that_takes_nothing_delays_neither_the_peer_nor_others():
    scene = Scene()
    now = asyncio.get_running_loop().time
    peer, quick, stuck = OutputTrack(scene, now), ViewerTrack(scene.broadcast), ViewerTrack(scene.broadcast)
    scene.push(range(20, 32), span=0.4)
    await peer.recv()
    assert (await stuck.recv()) is not None  # and never again
    seen, given = [value(await quick.recv())], [20]
    for _ in range(11):
        frame = await peer.recv()
        given.append(value(frame))
        copy = await quick.recv()
        seen.append(value(copy))
        assert copy.pts == frame.pts
    assert seen == given == list(range(20, 32))
    assert value(await stuck.recv()) == 31


async def test_the_answer_sends_video_alone(viewer):
    offer = await offer_of(("audio", "recvonly"), ("video", "recvonly"))
    answer = SessionDescription.parse(await viewer.accept(offer))
    assert [(m.kind, m.direction) for m in answer.media] == [("audio", "inactive"), ("video", "sendonly")]
    assert answer.media[1].rtp.codecs[0].name == "H264"


async def test_what_a_viewer_sends_is_not_wanted_but_does_no_harm(viewer):
    offer = await offer_of(("audio", "sendrecv"), ("video", "sendrecv"))
    answer = SessionDescription.parse(await viewer.accept(offer))
    assert [(m.kind, m.direction) for m in answer.media] == [("audio", "recvonly"), ("video", "sendonly")]


@pytest.mark.parametrize(
    ("tracks", "told"),
    [
        ([("audio", "recvonly")], "no video: expected one video track, recvonly"),
        ([("video", "sendonly")], r"receives no video \(sendonly\): expected recvonly"),
    ],
)
async def test_an_offer_that_does_not_watch_is_refused(viewer, tracks, told):
    with pytest.raises(InvalidOffer, match=told):
        await viewer.accept(await offer_of(*tracks))


async def test_broken_offers_raise_nothing_else(session, settings):
    lines = (await offer_of(("video", "recvonly"))).splitlines()
    broken = [lines[:n] + lines[n + 1 :] for n in range(len(lines))]
    broken += [[*lines[:n], lines[n][: len(lines[n]) // 2], *lines[n + 1 :]] for n in range(len(lines))]
    for text in [*broken, ["hello"], ["v=0"]]:
        viewer = Viewer("v", session, settings)
        try:
            await viewer.accept("\r\n".join(text) + "\r\n")
        except InvalidOffer:
            pass
        await viewer.close()


async def test_a_viewer_that_never_connects_is_given_up(session, settings, caplog):
    caplog.set_level("INFO")
    viewer = Viewer("v", session, settings.model_copy(update={"peer_timeout": 0.1}))
    await viewer.accept(await offer_of(("video", "recvonly")))
    await asyncio.wait_for(viewer.attend(), PATIENCE_S)
    assert "viewer v ends: not connected within 0.1 s" in caplog.text
    await viewer.close()


async def test_a_viewer_leaves_with_the_session(session, settings, caplog):
    caplog.set_level("INFO")
    viewer = Viewer("v", session, settings.model_copy(update={"peer_timeout": 1000 * PATIENCE_S}))
    await viewer.accept(await offer_of(("video", "recvonly")))
    attending = asyncio.create_task(viewer.attend())
    await session.close()
    await asyncio.wait_for(attending, PATIENCE_S)
    assert "viewer v ends: the session has ended" in caplog.text
    await viewer.close()
    await viewer.close()
    assert viewer._pc.connectionState == "closed" and viewer._track.readyState == "ended"
