"""For tests: an aiortc client that watches a session by WHEP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from tests.server.running import RunningServer

HEADERS = {"Content-Type": "application/sdp"}


class Watcher:
    """Offers to receive video; `audio` too, as players do."""

    def __init__(self, server: RunningServer, session: str, *, audio: bool = False) -> None:
        self.url = f"{server.url}/sessions/{session}/whep"
        self._server = server
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.on("track", self._on_track)
        if audio:
            self.pc.addTransceiver("audio", direction="recvonly")
        self.pc.addTransceiver("video", direction="recvonly")
        self.frames: list[VideoFrame] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.location = self.answer = ""
        self.headers: Any = {}

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def post(self, offer: str) -> aiohttp.ClientResponse:
        return await self._server.http.post(self.url, data=offer.encode(), headers=HEADERS)

    async def connect(self) -> "Watcher":
        response = await self.post(await self.offer())
        assert response.status == 201, await response.text()
        self.headers, self.answer = response.headers, await response.text()
        self.location = response.headers["Location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=self.answer, type="answer"))
        return self

    async def delete(self) -> int:
        async with self._server.http.delete(self._server.url + self.location) as response:
            return response.status

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pc.close()

    def _on_track(self, track: Any) -> None:
        async def collect() -> None:
            while True:
                try:
                    frame = await track.recv()
                except MediaStreamError:
                    return
                if isinstance(frame, VideoFrame):
                    self.frames.append(frame)

        self._tasks.append(asyncio.create_task(collect()))


@asynccontextmanager
async def watcher(server: RunningServer, session: str, **options: Any) -> AsyncIterator[Watcher]:
    """A connected one, closed at the end."""
    client = Watcher(server, session, **options)
    try:
        yield await client.connect()
    finally:
        await client.close()


async def viewers(server: RunningServer) -> int:
    """How many there are, as the metrics say."""
    async with server.http.get(server.url + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return int(float(next(line for line in lines if line.startswith("depthlive_viewers ")).split()[1]))


async def until_viewers(server: RunningServer, count: int) -> None:
    for _ in range(400):
        if await viewers(server) == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {count} viewers but {await viewers(server)}")
