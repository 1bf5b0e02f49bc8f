"""The benchmark's WebSocket client against the real server with a fake engine."""

import pytest

from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.websocket import BenchSocketClient
from scripts.bench.figures.latency import summarise
from server.settings import load_settings
from server.websocket.media_frame import Kind
from tests.scripts.bench.clients.conftest import PATIENCE_S
from tests.server.fakes import FakeEngineModule
from tests.server.running import running_server


@pytest.mark.parametrize("kind", [Kind.VP8, Kind.JPEG])
async def test_a_run_measures_latency_and_switches(kind: Kind) -> None:
    settings = load_settings({"stamp_source": True})
    async with running_server(settings, FakeEngineModule()) as server:
        client = BenchSocketClient(server.url, NumberedCamera(320, 240, 30), kind=kind)
        recording = await client.run(1.0, ["gold"], patience=PATIENCE_S, switches=1)
        await server.empty()  # leaving ends the session
    figures = summarise(recording.arrivals, recording.offered)
    assert figures.generated >= 1
    assert figures.glass_to_glass_p50_ms is not None
    assert recording.model is not None
    assert recording.stats is not None
    assert [switch.applied_ms is not None for switch in recording.switches] == [True, True]
    assert recording.switches[1].chunk_at_send is not None
    assert recording.errors == []
    assert len(recording.sent) >= 1
    assert len(recording.received) >= len(recording.arrivals)  # the last ones may not be decoded any more


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ConnectionError, match="ws"):
        await BenchSocketClient("http://127.0.0.1:9", NumberedCamera(64, 64, 15)).run(1, [], patience=5)


async def test_a_full_server_is_named_in_its_own_words() -> None:
    settings = load_settings({"max_sessions": 1})
    async with running_server(settings, FakeEngineModule()) as server, server.viewer():
        client = BenchSocketClient(server.url, NumberedCamera(64, 64, 15))
        with pytest.raises(ConnectionError, match=r"\(4503\): all 1 places are taken; try again soon"):
            await client.run(1.0, [], patience=PATIENCE_S)
