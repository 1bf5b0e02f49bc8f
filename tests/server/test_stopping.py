"""What stopping a server may take, where what it waits for never ends."""

import asyncio
import socket

import pytest

from server import app, tracing
from server.engine import client
from server.media import recording_store
from server.media.recording import Recording
from server.media.recording_store import RecordingStore
from server.settings import load_settings
from server.transport.peer_registry import PeerRegistry
from tests.server.running import running_server

LIMIT_S = 8.0


def test_law_a_server_stops_within_eight_seconds():
    joins = max(client.JOIN_TIMEOUT_S, recording_store.JOIN_TIMEOUT_S, tracing.JOIN_TIMEOUT_S)
    assert app.DISMISS_TIMEOUT_S + app.SHUTDOWN_TIMEOUT_S + joins < LIMIT_S


@pytest.mark.virtual_time
async def test_law_connections_that_do_not_end_are_left_behind(settings, engine, monkeypatch, caplog):
    async def never(self: PeerRegistry) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(PeerRegistry, "dismiss_all", never)
    loop = asyncio.get_running_loop()
    async with running_server(settings, engine) as server:
        await server.worker.ready()
        began = loop.time()
    assert loop.time() - began == pytest.approx(app.DISMISS_TIMEOUT_S)
    assert "Not all connections ended within 3 s" in caplog.text


@pytest.mark.virtual_time
async def test_law_a_recording_that_does_not_end_is_left_behind(settings, monkeypatch, caplog):
    async def never(self: Recording) -> None:
        await asyncio.Event().wait()

    recordings = RecordingStore(settings)
    await recordings.open()
    recording = recordings.start("s", side_by_side=False, on_change=lambda news: None)
    with monkeypatch.context() as patch:
        patch.setattr(Recording, "ended", never)
        began = asyncio.get_running_loop().time()
        await recordings.close()
    assert asyncio.get_running_loop().time() - began == pytest.approx(recording_store.JOIN_TIMEOUT_S)
    assert "leaving it behind" in caplog.text
    await recording.ended()


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
async def test_law_a_port_that_is_taken_is_told_before_the_model_is_asked_for(setting, engine, monkeypatch):
    """Or its thread would have to be waited for, which may be at work on an import for long."""
    workers = []

    def worker(settings):
        workers.append(client.EngineClient(settings, import_engine=lambda: engine))
        return workers[-1]

    monkeypatch.setattr(app, "EngineClient", worker)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(app.CannotListen):
            await app.serve(load_settings({"port": 0, setting: other.getsockname()[1]}))
    assert len(workers) == 1 and not workers[0]._thread.is_alive and not engine.loaded_with
