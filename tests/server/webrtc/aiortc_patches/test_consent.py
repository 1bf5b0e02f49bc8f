"""Who answers no request for consent, as FFmpeg's WHIP muxer: laws of when it stays, with real sockets."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aioice.ice
import pytest
from aioice import Connection
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

import server.webrtc.connection
from server.settings import load_settings
from server.webrtc.aiortc_patches import consent
from server.webrtc.aiortc_patches.ice_restart import RestartableIce
from tests.server.running import CAMERA_FPS, Camera, RunningServer, until

ROUNDS = 4 * aioice.ice.CONSENT_FAILURES


@pytest.fixture
def settings():
    return load_settings({"max_fps": CAMERA_FPS})


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Asked often; one number for each time that packets were counted."""
    monkeypatch.setattr(consent, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    counts: list[int] = []
    usual = server.webrtc.connection.decrypted_packets

    def counted(pc: RTCPeerConnection) -> int:
        counts.append(usual(pc))
        return counts[-1]

    monkeypatch.setattr(server.webrtc.connection, "decrypted_packets", counted)
    return counts


Mute = Callable[[], None]


@asynccontextmanager
async def publisher(server: RunningServer, direction: str) -> AsyncIterator[tuple[Any, Mute]]:
    """A connected client with a camera that answers no STUN any more: its ICE, and what silences it."""
    pc, camera = RTCPeerConnection(RTCConfiguration(iceServers=[])), Camera()
    try:
        pc.addTransceiver(camera, direction=direction)
        await pc.setLocalDescription(await pc.createOffer())
        async with server.http.post(
            f"{server.url}/whip",
            data=pc.localDescription.sdp.encode(),
            headers={"Content-Type": "application/sdp"},
        ) as response:
            assert response.status == 201, await response.text()
            answer = RTCSessionDescription(sdp=await response.text(), type="answer")
        await pc.setRemoteDescription(answer)
        await until(lambda: pc.connectionState == "connected", "it connects")
        transport: Any = pc.getTransceivers()[0].sender.transport.transport
        ice = transport._connection
        ice.request_received = lambda *_: None

        async def send_nothing(data: bytes) -> None: ...

        yield ice, lambda: setattr(transport, "_send", send_nothing)
    finally:
        camera.stop()
        await pc.close()


async def is_there(server: RunningServer) -> bool:
    return (await server.json("/api/info"))["sessions"] == 1


async def test_law_a_camera_that_answers_no_request_stays_while_its_packets_come(server, rounds):
    async with publisher(server, "sendonly") as (_, mute):
        await until(lambda: len(rounds) > 2 * ROUNDS, "many times as long as it takes to give one up")
        assert len(set(rounds)) > ROUNDS / 2 and await is_there(server)
        mute()
        await server.empty()


async def test_law_who_is_sent_pictures_has_to_answer(server, rounds):
    async with publisher(server, "sendrecv"):
        await server.empty()
        assert not rounds, "its packets are not looked at"


def test_a_restart_hands_it_on():
    old, new, other = (Connection(ice_controlling=True) for _ in range(3))
    setattr(old, consent.PACKETS, lambda: 7)
    consent.hand_consent_on(old, new)
    assert getattr(new, consent.PACKETS)() == 7
    consent.hand_consent_on(other, new)
    assert getattr(new, consent.PACKETS) is None
    assert "hand_consent_on(self._current, gatherer._connection)" in inspect.getsource(RestartableIce.prepare)


def test_the_places_in_aioice_have_not_moved():
    source = inspect.getsource(Connection)
    assert "self._query_consent_task = asyncio.create_task(self.query_consent())" in source
    assert "self._query_consent_task = None" in inspect.getsource(consent._usual)
