"""A session with the built-in model, turned while it runs: what the server asks is what the engine takes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from server.engine.client import EngineClient
from server.journal.memory import MemoryJournal
from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.session.session_record import SessionRecord
from server.settings import Settings, load_settings
from tests.server.running import until
from tests.server.running_session import RunningSession

pytestmark = pytest.mark.slow

WIDE, UPRIGHT = (80, 48), (48, 80)


@asynccontextmanager
async def loaded(settings: Settings) -> AsyncIterator[EngineClient]:
    """A worker with the real engine."""
    worker = EngineClient(settings)
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


def begun(session: LiveSession) -> RunningSession:
    running = RunningSession(session)
    session.start()
    return running


async def test_turned_with_all_that_depends_on_the_shape_and_moved_to_another_process():
    settings = load_settings({"size": "80x48", "depth": "edges", "device": "cpu", "latency": "lowest"})
    journal = MemoryJournal()
    async with loaded(settings) as worker:
        info = await worker.ready()
        assert (info.width, info.height, info.can_turn) == (*WIDE, True)
        session = LiveSession("abc", Services(settings, worker, Metrics(), journal=journal))
        running = begun(session)
        await running.live()
        half = np.zeros((60, 100, 3), np.uint8)
        half[:, :50] = 255
        mask = session.images.add(half)
        reference = session.images.add(np.full((40, 40, 3), 90, np.uint8))
        await running.applied("mask.set", "1", image=mask)
        await running.applied("references.set", "2", images=[reference])
        assert session.picture.size == WIDE
        applied = await running.applied("shape.set", "3", orientation="upright")
        assert applied["chunk"] == 0 and session.picture.size == UPRIGHT
        await running.applied("shape.set", "4", fit="fit")
        await until(lambda: session.picture.chunk > 2, "chunks in the new shape")
        assert not running.of("error")
        chunk = session.picture.chunk
        session.may_go_on_elsewhere = True
        await running.close()
        record = SessionRecord.decode(await journal.get("abc") or b"")
        again = begun(LiveSession("abc", Services(settings, worker, Metrics()), record))
        await again.live()
        await until(lambda: again.session.picture is not None, "a picture")
        assert again.session.picture.size == UPRIGHT and again.session.picture.chunk > chunk
        await again.applied("shape.set", "5", orientation="wide")
        assert again.session.picture.size == WIDE and not again.of("error")
        await again.close()


async def test_a_model_that_was_loaded_upright_is_so_and_refuses_to_turn():
    settings = load_settings({"size": "48x80", "depth": "edges", "device": "cpu", "latency": "lowest"})
    async with loaded(settings) as worker:
        info = await worker.ready()
        assert (info.width, info.height, info.can_turn) == (*UPRIGHT, False)
        running = begun(LiveSession("abc", Services(settings, worker, Metrics())))
        await running.live()
        await until(lambda: running.session.picture is not None, "a picture")
        assert running.session.picture.size == UPRIGHT
        running.ask("shape.set", "1", orientation="upright")
        assert "cannot be turned" in (await running.until("error", id="1"))["message"]
        await running.applied("guidance.set", "2", scale=0.5)
        assert running.session.picture.size == UPRIGHT
        await running.close()


async def test_a_size_that_the_model_cannot_make_is_refused_with_its_multiples(caplog):
    settings = load_settings({"size": "81x48", "depth": "edges", "device": "cpu"})
    async with loaded(settings) as worker:
        await until(lambda: worker.readiness.reason.startswith("cannot load the model"), "the failure")
    assert "must be multiples of 16" in caplog.text and "81x48" in caplog.text
