"""OBS publishes with an offer of its own kind: no data channel, sound too, and not one ICE candidate.

It gathers candidates only after the answer, so that the server first hears of its address by a connectivity
check. Here aiortc stands in for it.
"""

import asyncio
import json
import re

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from tests.server.running import Camera, RunningServer, until


async def publish(server: RunningServer, peer: RTCPeerConnection, camera: Camera) -> str:
    """Publish as OBS does; returns the session's path."""
    peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
    peer.addTransceiver(camera, direction="sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", peer.localDescription.sdp)
    assert "candidate" not in offer
    headers = {"Content-Type": "application/sdp", "Authorization": "Bearer whatever"}
    async with server.http.post(server.url + "/whip", data=offer, headers=headers) as response:
        assert response.status == 201, await response.text()
        answer, location = await response.text(), response.headers["Location"]
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return location


async def test_obs_publishes_and_is_controlled_and_watched_by_others(server):
    peer, camera = RTCPeerConnection(RTCConfiguration(iceServers=[])), Camera()
    try:
        location = await publish(server, peer, camera)
        await until(lambda: peer.connectionState == "connected", "OBS is connected")
        session = f"{server.url}/sessions/{location.rpartition('/')[2]}"
        async with server.http.ws_connect(session + "/ws") as socket:
            state = ""
            while state != "live":
                message = json.loads(await asyncio.wait_for(socket.receive_str(), 40))
                state = message["state"] if message["type"] == "state" else state
            await socket.send_json({"type": "prompt.set", "id": "1", "text": "gold"})
            while (message := await socket.receive_json(timeout=40))["type"] != "applied":
                assert message["type"] != "error"
        async with server.http.delete(server.url + location) as response:
            assert response.status == 200
    finally:
        camera.stop()
        await peer.close()
