"""The floor's server, seen by the benchmark's own peer: the camera's pictures come back, soon, and count."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.webrtc import BenchClient
from scripts.bench.clients.websocket import BenchSocketClient
from scripts.bench.figures.latency import summarise
from scripts.bench.servers.echo import create_echo
from server.websocket.media_frame import Kind
from tests.scripts.bench.clients.conftest import PATIENCE_S


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    runner = web.AppRunner(create_echo())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_camera_s_own_pictures_are_measured(echo: str) -> None:
    client = BenchClient(echo, NumberedCamera(320, 240, 15), echo=True)
    recording = await client.run(1.0, [], patience=PATIENCE_S)
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.generated >= 1
    assert figures.passed_through == 0
    assert figures.glass_to_glass_p50_ms is not None
    assert figures.glass_to_glass_p50_ms > 0
    assert recording.switches == []


@pytest.mark.parametrize("kind", [Kind.VP8, Kind.JPEG])
async def test_so_are_those_that_a_web_socket_carries(echo: str, kind: Kind) -> None:
    client = BenchSocketClient(echo, NumberedCamera(320, 240, 15), echo=True, kind=kind)
    recording = await client.run(0.7, [], patience=PATIENCE_S)
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.generated >= 1
    assert figures.passed_through == 0
    assert figures.unreadable == 0
    assert figures.glass_to_glass_p50_ms is not None
    assert figures.glass_to_glass_p50_ms > 0


async def test_without_echo_its_pictures_are_known_as_the_camera_s(echo: str) -> None:
    client = BenchClient(echo, NumberedCamera(320, 240, 15))
    with pytest.raises(TimeoutError):
        await client.run(2.0, [], patience=2)
    assert summarise(client.recording.arrivals, client.recording.offered).generated == 0
