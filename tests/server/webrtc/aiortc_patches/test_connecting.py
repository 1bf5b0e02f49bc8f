"""A connection that is closed while it connects leaves nothing behind."""

import asyncio
import gc
import threading

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from server.webrtc.aiortc_patches import connecting
from server.webrtc.aiortc_patches.connecting import end_connecting_first
from server.webrtc.aiortc_patches.ice_restart import restartable
from server.webrtc.viewer import Viewer
from tests.server.running import PATIENCE_S, Camera, until
from tests.server.webrtc.offers import offer_of, watched
from tests.server.webrtc.test_viewer import session  # noqa: F401 -- a fixture


async def closed_at(state: str, steps: int, *, is_restartable: bool) -> None:
    """Two connections; the one that answers is closed so many steps of the loop after it came so far."""
    client, ours = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    client.addTransceiver(Camera(), direction="sendrecv")
    client.createDataChannel("control")
    await client.setLocalDescription(await client.createOffer())
    ours.addTransceiver(Camera())
    await ours.setRemoteDescription(client.localDescription)
    if is_restartable:
        restartable(ours)
    dtls = ours.getTransceivers()[0].receiver.transport
    ice, come = dtls.transport, asyncio.Event()

    def look() -> None:
        if state in (f"ICE {ice.state}", f"DTLS {dtls.state}"):
            come.set()

    ice.on("statechange", look)
    dtls.on("statechange", look)
    await ours.setLocalDescription(await ours.createAnswer())
    await client.setRemoteDescription(ours.localDescription)
    await asyncio.wait_for(come.wait(), PATIENCE_S)
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.wait_for(ours.close(), PATIENCE_S)
    assert ours.connectionState == "closed"
    await asyncio.wait_for(client.close(), PATIENCE_S)


@pytest.mark.parametrize("is_restartable", [True, False])
@pytest.mark.parametrize("state", ["ICE checking", "ICE completed", "DTLS connecting", "DTLS connected"])
async def test_law_closed_while_it_connects_it_leaves_no_task_thread_or_traceback(state, is_restartable):
    end_connecting_first()
    gc.freeze()  # or each collection would look through all that the tests before have imported and made
    unretrieved: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unretrieved.append(context))
    me = {asyncio.current_task()}
    for steps in (0, 1, 2, 5, 7):
        await closed_at(state, steps, is_restartable=is_restartable)
        gc.collect()  # an exception that nobody retrieved is told when its task goes
        assert not unretrieved
        await until(lambda: asyncio.all_tasks() == me, f"no task is left, {steps} steps after {state}")
        assert not [one.name for one in threading.enumerate() if one.name.endswith("-decoder")]


async def test_every_connection_is_closed_so(session, settings, monkeypatch):  # noqa: F811
    name = "_RTCPeerConnection__connect"
    monkeypatch.setattr(RTCPeerConnection, "close", connecting._close)
    monkeypatch.setattr(RTCPeerConnection, name, connecting._connect)
    viewer = Viewer("v", session, settings)
    await viewer.answer(watched(await offer_of(("video", "recvonly"))))
    assert RTCPeerConnection.close is not connecting._close
    assert vars(RTCPeerConnection)[name] is not connecting._connect
    await viewer.close()
