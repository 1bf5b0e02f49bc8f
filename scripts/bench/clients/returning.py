"""Client that goes on whatever happens to its server, as the page does: it notes when pictures came.

It comes to a gateway, follows it to a worker, and comes back with its session's id when pictures stop.
"""

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from scripts.bench.servers.loopback_ice import ice_on_loopback

NOTICED_S = 2.0  # without a word or a picture: the connection is taken for lost
FIRST_PICTURE_S = 20.0  # of a new connection, which may have to wait for a model
LOOK_S = 0.2
PING_S = 0.5
RETRY_S = 0.5
LONGEST_RETRY_S = 2.0


@dataclass(slots=True)
class Visit:
    """What one client has seen. Times are those of the monotonic clock."""

    pictures: list[float] = field(default_factory=list[float])
    sessions: list[str] = field(default_factory=list[str])  # one after the other
    losses: list[float] = field(default_factory=list[float])
    refusals: dict[int, int] = field(default_factory=dict[int, int])  # by status

    def longest_gap(self, until: float) -> float:
        """Seconds without a picture, from the first one on."""
        if not self.pictures:
            return float("inf")
        return max(b - a for a, b in zip(self.pictures, [*self.pictures[1:], until], strict=True))


class ReturningClient:
    """visit = await ReturningClient(url, camera).stay(over)"""

    def __init__(
        self, url: str, camera: Callable[[], MediaStreamTrack], *, proxied: bool, rng: random.Random
    ) -> None:
        """`camera` makes one for each connection; `proxied`: as a page, which cannot follow to a worker."""
        self.visit = Visit()
        self._url, self._make_camera, self._rng = url, camera, rng
        self._is_proxied = proxied
        self._session: str | None = None
        self._ticket = secrets.token_hex(16)
        self._is_silent = asyncio.Event()
        self._last = 0.0

    async def stay(self, over: asyncio.Event) -> Visit:
        """Until it is `over`, come back as often as it takes."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            while not over.is_set():
                await self._connect_once(http, over)
        return self.visit

    async def _connect_once(self, http: aiohttp.ClientSession, over: asyncio.Event) -> None:
        pc, camera = RTCPeerConnection(RTCConfiguration(iceServers=[])), self._make_camera()
        tasks: list[asyncio.Task[None]] = []
        pc.on("track", lambda track: tasks.append(asyncio.create_task(self._watch(track))))
        pc.addTransceiver(camera, direction="sendrecv")
        control = pc.createDataChannel("control")
        self._is_silent.clear()
        control.on("close", self._is_silent.set)
        control.on("message", self._hear)
        resource = None
        try:
            with ice_on_loopback():
                await pc.setLocalDescription(await pc.createOffer())
            resource = await self._offer(http, pc)
            if resource is None:
                return
            tasks.append(asyncio.create_task(self._ping(control)))
            self._last = time.monotonic() + FIRST_PICTURE_S - NOTICED_S
            while not over.is_set() and time.monotonic() < self._last + NOTICED_S:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_silent.wait(), LOOK_S)
                    break
            if not over.is_set():
                self.visit.losses.append(time.monotonic())
            else:
                await self._ask(http.delete(resource))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            camera.stop()
            await pc.close()

    async def _offer(self, http: aiohttp.ClientSession, pc: RTCPeerConnection) -> str | None:
        """Where the session is spoken of; None where there is no place yet, after a wait."""
        query = {"session": self._session} if self._session else {"ticket": self._ticket}
        if self._is_proxied:
            query["proxy"] = "1"
        try:
            async with http.post(
                f"{self._url}/whip",
                params=query,
                data=pc.localDescription.sdp,
                headers={"Content-Type": "application/sdp"},
            ) as response:
                answer = await response.text()
                if response.status == 201:
                    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
                    return urljoin(str(response.url), response.headers["Location"])
                wait = min(LONGEST_RETRY_S, float(response.headers.get("Retry-After", RETRY_S)))
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            wait, status = RETRY_S, 0
        self.visit.refusals[status] = self.visit.refusals.get(status, 0) + 1
        if status == 404:
            self._session = None
        await asyncio.sleep(wait * self._rng.uniform(0.5, 1))
        return None

    def _hear(self, raw: str) -> None:
        self._last = max(self._last, time.monotonic())
        message: dict[str, Any] = json.loads(raw)
        if message["type"] == "hello":
            self._session = str(message["session"])
            if self.visit.sessions[-1:] != [self._session]:
                self.visit.sessions.append(self._session)

    async def _ping(self, control: Any) -> None:
        while True:
            if control.readyState == "open":
                control.send(json.dumps({"type": "ping", "id": "1"}))
            await asyncio.sleep(PING_S)

    async def _watch(self, track: Any) -> None:
        while True:
            try:
                await track.recv()
            except MediaStreamError:
                return
            self._last = time.monotonic()
            self.visit.pictures.append(self._last)

    async def _ask(self, request: Any) -> None:
        try:
            async with request as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            pass
