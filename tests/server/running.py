"""For tests: the real application with a fake engine, and an aiortc client that talks to it over loopback."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from server.app import PEERS, create_app, runner_of
from server.engine.client import EngineClient, Phase
from server.engine.scheduler import Scheduler
from server.journal.port import Journal
from server.placement.lease_tokens import LeaseGate
from server.settings import Settings
from server.transport.peer_registry import PeerRegistry
from tests.server.fakes import FakeEngineModule
from tests.virtual_time import JobQueue, VirtualTimeLoop

CAMERA_FPS = 60
PATIENCE_S = 40.0  # generous: the machine may be slow, and busy


class Camera(MediaStreamTrack):
    """Grey frames at CAMERA_FPS, brighter by one each time; the size may be changed in mid-stream."""

    kind = "video"
    size = (160, 120)

    def __init__(self) -> None:
        super().__init__()
        self._began = asyncio.get_running_loop().time()
        self._count = 0

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._count += 1
        await asyncio.sleep(self._began + self._count / CAMERA_FPS - asyncio.get_running_loop().time())
        width, height = self.size
        frame = VideoFrame.from_ndarray(np.full((height, width, 3), self._count % 256, np.uint8))
        frame.pts, frame.time_base = self._count * 90_000 // CAMERA_FPS, Fraction(1, 90_000)
        return frame


class Viewer:
    """A client: a camera, a received picture, and the data channels. `former`: the session to go on with."""

    def __init__(self, url: str, http: aiohttp.ClientSession, former: str | None = None) -> None:
        self._url, self._http, self._former = url, http, former
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.camera = Camera()
        self.frames: list[VideoFrame] = []
        self.messages: list[dict[str, Any]] = []
        self.telemetry: list[dict[str, Any]] = []
        self.control = self.pc.createDataChannel("control")
        self.control.on("message", lambda text: self.messages.append(json.loads(text)))
        lossy = self.pc.createDataChannel("telemetry", ordered=False, maxRetransmits=0)
        lossy.on("message", lambda text: self.telemetry.append(json.loads(text)))
        self.pc.on("track", self._on_track)
        self._tasks: list[asyncio.Task[None]] = []
        self.location = ""
        self.answer = ""

    async def connect(self, direction: str = "sendrecv") -> "Viewer":
        response = await self.post(await self.offer(direction))
        assert response.status == 201, await response.text()
        self.location, self.answer = response.headers["Location"], await response.text()
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=self.answer, type="answer"))
        await until(lambda: self.control.readyState == "open", "the control channel opens")
        return self

    async def offer(self, direction: str = "sendrecv") -> str:
        self.pc.addTransceiver(self.camera, direction=direction)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def post(self, offer: str, **query: str) -> aiohttp.ClientResponse:
        return await self._http.post(
            f"{self._url}/whip",
            params=query | ({"session": self._former} if self._former else {}),
            data=offer.encode(),
            headers={"Content-Type": "application/sdp"},
        )

    async def delete(self) -> int:
        async with self._http.delete(self._url + self.location) as response:
            return response.status

    def send(self, message: dict[str, Any] | str) -> None:
        self.control.send(message if isinstance(message, str) else json.dumps(message))

    def received(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Messages of this type with these fields, in order."""
        return [m for m in self.messages if m["type"] == type and fields.items() <= m.items()]

    async def message(self, type: str, **fields: Any) -> dict[str, Any]:
        """The first such message, waiting for it."""
        await until(lambda: bool(self.received(type, **fields)), f"{type} {fields} in {self.messages}")
        return self.received(type, **fields)[0]

    async def live(self) -> "Viewer":
        await self.message("state", state="live")
        return self

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.camera.stop()
        await self.pc.close()

    def _on_track(self, track: Any) -> None:
        async def collect() -> None:
            while True:
                try:
                    self.frames.append(await track.recv())
                except MediaStreamError:
                    return

        self._tasks.append(asyncio.create_task(collect()))


class RunningServer:
    def __init__(self, runner: web.AppRunner, http: aiohttp.ClientSession, worker: EngineClient) -> None:
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.http, self.worker = http, worker
        self._runner = runner

    @property
    def peers(self) -> PeerRegistry:
        return self._runner.app[PEERS]

    def http_connections(self) -> int:
        """How many HTTP connections are open, as far as the server knows."""
        assert self._runner.server is not None
        return sum(connection.connected for connection in self._runner.server.connections)

    def waits_for_a_body(self) -> bool:
        """Whether a handler has read all of a body that has come, and waits for more."""
        assert self._runner.server is not None
        requests = [handler._current_request for handler in self._runner.server.connections]
        return any(getattr(request and request.content, "_waiter", None) is not None for request in requests)

    @asynccontextmanager
    async def viewer(self, direction: str = "sendrecv", former: str | None = None) -> AsyncIterator[Viewer]:
        """A connected viewer, closed at the end."""
        viewer = Viewer(self.url, self.http, former)
        try:
            yield await viewer.connect(direction)
        finally:
            await viewer.close()

    async def empty(self) -> None:
        """Wait until no session is left."""
        for _ in range(int(PATIENCE_S / 0.05)):
            if (await self.json("/api/info"))["sessions"] == 0:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("sessions are left")

    async def json(self, path: str) -> dict[str, Any]:
        async with self.http.get(self.url + path) as response:
            return await response.json()


def worker_around(engine: FakeEngineModule, settings: Settings) -> EngineClient:
    """A worker with the fake engine, not started; on a virtual clock it has that too."""
    worker, loop = EngineClient(settings, import_engine=lambda: engine), asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        return worker
    worker.scheduler = Scheduler(now=loop.time)
    jobs = worker._thread._jobs = JobQueue(loop)

    def changed() -> None:
        if worker.readiness.phase is Phase.FAILED:
            jobs.given_up()

    worker.subscribe(changed)
    stop = worker.stop

    async def stopped() -> None:
        loop.idle()  # the thread that waits for the end of the worker's may wait for the clock
        await stop()
        loop.busy()
        jobs.given_up()

    worker.stop = stopped
    return worker


@asynccontextmanager
async def started_worker(settings: Settings, engine: FakeEngineModule) -> AsyncIterator[EngineClient]:
    """A worker around the fake engine; stopped at the end, whatever the engine was told to wait for."""
    worker = worker_around(engine, settings)
    worker.start()
    try:
        yield worker
    finally:
        engine.may_load.set()
        engine.may_warm_up.set()
        await worker.stop()


@asynccontextmanager
async def running_server(
    settings: Settings,
    engine: FakeEngineModule,
    gate: LeaseGate | None = None,
    *,
    journal: Journal | None = None,
) -> AsyncIterator[RunningServer]:
    worker = worker_around(engine, settings)
    # Run as server.app.serve does it; aiohttp's TestServer would cancel the handlers of clients that leave.
    runner = runner_of(create_app(settings, worker, gate, journal=journal), settings)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            yield RunningServer(runner, http, worker)
    finally:
        engine.may_load.set()
        engine.may_warm_up.set()
        await runner.cleanup()


async def until(holds: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
    """Wait until `holds()`; fails with `what` was expected."""
    clocks = (asyncio.get_running_loop().time, time.monotonic)  # a virtual clock knows not of all threads
    deadlines = [clock() + patience for clock in clocks]
    while not holds():
        is_over = all(clock() > deadline for clock, deadline in zip(clocks, deadlines, strict=True))
        assert not is_over, f"not within {patience} s: {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def rounds_of_the_loop() -> AsyncIterator[list[int]]:
    """How often the event loop has served others since, as the one item of a list."""
    rounds = [0]

    async def others() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    serving = asyncio.create_task(others())
    await asyncio.sleep(0)
    try:
        yield rounds
    finally:
        serving.cancel()
