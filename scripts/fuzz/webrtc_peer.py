"""WebRTC peer that sends what it likes: bytes as RTP and RTCP under its keys, texts on its channel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import is_rtcp
from pylibsrtp import Error as SrtpError

from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.servers.loopback_ice import ice_on_loopback

SIZE, FPS = (160, 120), 5.0
OPEN_S = 30.0
MOST_RECORDED = 60


class Peer:
    """Connected; its camera goes on, and what that sends is recorded."""

    def __init__(self, pc: RTCPeerConnection, control: Any) -> None:
        self.control = control
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self._recorded = asyncio.Event()
        self._pc = pc
        self._dtls: Any = pc.getTransceivers()[0].sender.transport
        self._send_rtp = self._dtls._send_rtp
        self._dtls._send_rtp = self._record

    @property
    def is_closed(self) -> bool:
        return self._pc.connectionState in ("closed", "failed") or self.control.readyState != "open"

    async def recorded(self) -> None:
        """Some of both kinds have been. Raises TimeoutError."""
        async with asyncio.timeout(OPEN_S):
            await self._recorded.wait()

    async def send(self, data: bytes, *, protected: bool) -> bool:
        """False where the connection is gone. What the library cannot protect goes as it is."""
        try:
            if protected and len(data) > 1:
                try:
                    await self._send_rtp(data)
                    return True
                except (SrtpError, ValueError):  # ValueError: too long
                    pass
            await self._dtls.transport._send(data)
        except (ConnectionError, AttributeError):  # AttributeError: the keys are gone
            return False
        return True

    async def _record(self, data: bytes) -> None:
        seeds = self.rtcp if is_rtcp(data) else self.rtp
        if len(seeds) < MOST_RECORDED:
            seeds.append(data)
        if self.rtp and self.rtcp:
            self._recorded.set()
        await self._send_rtp(data)


@asynccontextmanager
async def connected(url: str, http: aiohttp.ClientSession) -> AsyncIterator[Peer]:
    """A peer whose control channel is open. Raises ConnectionError, TimeoutError."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver(NumberedCamera(*SIZE, FPS), direction="sendrecv")
    control, is_open = pc.createDataChannel("control"), asyncio.Event()
    control.on("open", is_open.set)
    try:
        with ice_on_loopback():
            await pc.setLocalDescription(await pc.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with http.post(f"{url}/whip", data=pc.localDescription.sdp, headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                raise ConnectionError(f"refused with {response.status}: {answer}")
            location = urljoin(url, response.headers["Location"])
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        async with asyncio.timeout(OPEN_S):
            await is_open.wait()
        yield Peer(pc, control)
        async with http.delete(location):
            pass
    finally:
        await pc.close()
