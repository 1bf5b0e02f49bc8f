"""The benchmark's peer against a small server of its own: what it sends it must find again, and time it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame
from numpy.typing import NDArray

from scripts.bench.clients.frame_number import read
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.webrtc import BenchClient
from scripts.bench.figures.latency import CAMERA_PICTURE_BELOW, summarise
from tests.scripts.bench.clients.conftest import PATIENCE_S

DELAY_S = 0.1
MODEL = {
    "name": "inverter",
    "trained": True,
    "width": 256,
    "height": 144,
    "steps": 1,
    "depth": "none",
    "device": "cpu",
}


class Inverter(MediaStreamTrack):
    """Every frame, later and inverted under its stamp: `generated` as far as the client can tell."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack, *, inverts: bool) -> None:
        super().__init__()
        self._source = source
        self._inverts = inverts

    async def recv(self) -> VideoFrame:
        frame = await self._source.recv()
        assert isinstance(frame, VideoFrame)
        await asyncio.sleep(DELAY_S)
        rgb = np.array(frame.reformat(width=256, height=144).to_ndarray(format="rgb24"), np.uint8)
        if self._inverts:
            rgb[16:] = 255 - rgb[16:]
        out = VideoFrame.from_ndarray(rgb)
        out.pts, out.time_base = frame.pts, frame.time_base
        return out


class StubServer:
    """As much of the server as the benchmark sees. Not `live`: it only hands the camera through."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.peers: dict[str, RTCPeerConnection] = {}
        self.prompts: list[str] = []

    async def offer(self, request: web.Request) -> web.Response:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers["1"] = pc
        pc.on("track", lambda track: pc.addTrack(Inverter(track, inverts=self.live)))
        pc.on("datachannel", self.channel)
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return web.Response(status=201, text=pc.localDescription.sdp, headers={"Location": "/whip/1"})

    def channel(self, channel: Any) -> None:
        if channel.label != "control":
            return
        channel.on("message", lambda raw: self.answer(channel, json.loads(raw)))
        channel.send(
            json.dumps({"type": "hello", "session": "1", "model": MODEL, "prompt": "", "guidance_scale": 1})
        )
        channel.send(json.dumps({"type": "state", "state": "live" if self.live else "waiting", "detail": ""}))

    def answer(self, channel: Any, message: dict[str, Any]) -> None:
        id = message["id"]
        if message["type"] == "stats":
            channel.send(json.dumps({"type": "stats", "id": id, "chunk": 3, "dropped": {"camera": 3}}))
        if message["type"] == "prompt.set":
            self.prompts.append(message["text"])
            channel.send(json.dumps({"type": "ack", "id": id}))
            applied = {
                "type": "applied",
                "id": id,
                "command": "prompt.set",
                "chunk": 4,
                "frame": 45,
                "latency_ms": 7,
            }
            channel.send(json.dumps(applied))

    async def delete(self, request: web.Request) -> web.Response:
        await self.peers.pop(request.match_info["id"]).close()
        return web.Response()


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    runners: list[web.AppRunner] = []

    async def start(server: StubServer) -> str:
        app = web.Application()
        app.router.add_post("/whip", server.offer)
        app.router.add_delete("/whip/{id}", server.delete)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


class Clock:
    """Time that goes by only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0)


def luma_of(frame: VideoFrame) -> NDArray[np.uint8]:
    return np.array(frame.to_ndarray(format="gray"), np.uint8)


async def test_camera_frames_carry_their_number_and_match_themselves() -> None:
    clock = Clock()
    camera = NumberedCamera(320, 240, 30, clock=clock, sleep=clock.sleep)
    for number in range(3):
        luma = luma_of(await camera.recv())
        assert read(luma) == number
        matched = camera.match(luma)
        assert matched is not None
        sent, difference = matched
        assert sent == clock.now == pytest.approx(1000 + number / 30)
        assert difference < CAMERA_PICTURE_BELOW


async def test_a_repainted_frame_is_told_from_the_camera_s_own() -> None:
    camera = NumberedCamera(320, 240, 30)
    luma = luma_of(await camera.recv())
    luma[24:] = 255 - luma[24:]
    matched = camera.match(luma)
    assert matched is not None
    assert matched[1] > CAMERA_PICTURE_BELOW


async def test_a_slow_consumer_skips_frames_instead_of_getting_old_ones() -> None:
    clock = Clock()
    camera = NumberedCamera(64, 64, 30, clock=clock, sleep=clock.sleep)
    await camera.recv()
    clock.now += 9.5 / 30
    assert read(luma_of(await camera.recv())) == 9
    assert read(luma_of(await camera.recv())) == 10


async def test_a_run_measures_latency_and_prompt_switches(serve: Any) -> None:
    server = StubServer(live=True)
    client = BenchClient(await serve(server), NumberedCamera(320, 240, 15))
    recording = await client.run(1.0, ["gold"], patience=PATIENCE_S)
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.generated >= 1
    assert figures.glass_to_glass_p50_ms is not None
    assert figures.glass_to_glass_p50_ms >= 1000 * DELAY_S
    assert recording.model == MODEL
    assert recording.stats is not None
    assert server.prompts == ["gold"]
    (switch,) = recording.switches
    assert (switch.chunk, switch.frame, switch.server_latency_ms) == (4, 45, 7)
    assert switch.applied_ms is not None
    assert not server.peers  # DELETE was sent


async def test_switches_at_random_moments_know_what_was_on_show(serve: Any) -> None:
    server = StubServer(live=True)
    client = BenchClient(await serve(server), NumberedCamera(320, 240, 15))
    recording = await client.run(0.5, [], patience=PATIENCE_S, switches=2)
    assert len(server.prompts) == 2
    assert [(switch.chunk_at_send, switch.chunk) for switch in recording.switches] == [(3, 4), (3, 4)]


async def test_a_server_that_only_passes_the_camera_through_times_out(serve: Any) -> None:
    server = StubServer(live=False)
    client = BenchClient(await serve(server), NumberedCamera(320, 240, 15))
    with pytest.raises(TimeoutError):
        await client.run(2.0, [], patience=1.5)
    assert not server.peers
    assert summarise(client.recording.arrivals, client.recording.offered).generated == 0


async def test_a_refused_offer_says_why() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503, text="every place is taken")

    app = web.Application()
    app.router.add_post("/whip", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = BenchClient(f"http://127.0.0.1:{runner.addresses[0][1]}", NumberedCamera(64, 64, 15))
    try:
        with pytest.raises(ConnectionError, match="every place is taken"):
            await client.run(2.0, [], patience=5)
    finally:
        await runner.cleanup()
