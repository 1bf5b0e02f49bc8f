"""A headless WebRTC peer for measuring: sends numbered camera frames, notes when each number comes back.

One clock, `time.monotonic`, sees both ends of the trip. A frame is sent when the encoder here is handed it,
and back when its decoded picture is in hand: the camera's and the screen's own delays are not in it. aiortc
hands a frame out only when the next one begins to arrive, so every figure holds one picture interval that a
browser would not wait for.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

import aiohttp
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from scripts.bench.clients.measured_session import BenchSession
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.figures.run_record import RunRecord
from scripts.bench.servers.loopback_ice import ice_on_loopback
from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer


class BenchClient:
    """One session over WHIP, from the offer to its DELETE.

    recording = await BenchClient(url, camera).run(seconds, prompts, patience)
    """

    def __init__(self, url: str, camera: NumberedCamera, *, echo: bool = False) -> None:
        self._url = url.rstrip("/")
        self._camera = camera
        self._channel: Any = None
        self._session = BenchSession(camera, self._send, echo=echo)

    @property
    def recording(self) -> RunRecord:
        return self._session.recording

    async def run(
        self, seconds: float, prompts: Sequence[str], patience: float, switches: int = 0
    ) -> RunRecord:
        """As BenchSession.measure. Raises ConnectionError too, when the server refuses the offer."""
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pumps: list[asyncio.Task[None]] = []
        pc.on("track", lambda track: pumps.append(asyncio.create_task(self._watch(track))))
        use_marker_jitter_buffer(
            pc.addTransceiver(self._camera, direction="sendrecv").receiver
        )  # as browsers do
        self._channel = pc.createDataChannel("control")
        self._channel.on("message", self._session.control.receive)
        telemetry = pc.createDataChannel("telemetry", ordered=False, maxRetransmits=0)
        telemetry.on("message", self._session.control.receive)
        try:
            async with aiohttp.ClientSession() as http:
                resource = await self._offer(pc, http)
                try:
                    await self._session.measure(seconds, prompts, patience, switches)
                finally:
                    await http.delete(resource)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await pc.close()
        return self.recording

    async def _offer(self, pc: RTCPeerConnection, http: aiohttp.ClientSession) -> str:
        self._session.offer()
        with ice_on_loopback():
            await pc.setLocalDescription(await pc.createOffer())
        offer = pc.localDescription.sdp
        headers = {"Content-Type": "application/sdp"}
        async with http.post(f"{self._url}/whip", data=offer, headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                raise ConnectionError(f"the server refused the offer ({response.status}): {answer}")
            resource = urljoin(str(response.url), response.headers["Location"])
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        return resource

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Note every picture that comes back, until the track or the run ends."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            now = time.monotonic()
            self._session.note(np.asarray(frame.to_ndarray(format="gray"), np.uint8), now)

    def _send(self, text: str) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)
