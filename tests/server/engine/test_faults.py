"""Faults of the engine, as the event loop is told of them."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from server.engine.chunk_job import ChunkJob, LatestWins
from server.engine.client import EngineClient, Phase
from server.engine.errors import EngineUnavailable, StreamWasReset
from server.settings import Settings
from streaming.api import ChunkParameters, GenerationFailed
from tests.server import fakes
from tests.server.fakes import FakeEngineModule
from tests.server.running import started_worker, until


def request(count: int, prompt: str | None = None) -> ChunkJob:
    asked = ChunkParameters(prompts=((prompt, 1.0),) if prompt else None)
    return ChunkJob(
        range(count), black, LatestWins(asked), on_taken=lambda: None, on_frames=lambda piece: None
    )


def black(frames: Sequence[int]) -> list[np.ndarray]:
    return [np.zeros((48, 64, 3), np.uint8) for _ in frames]


async def test_law_a_stream_that_finds_no_memory_is_refused_and_others_go_on(
    worker: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "the device has no memory left for another stream"

    def full(*_: object, **__: object) -> None:
        raise GenerationFailed(words)

    handle = await worker.open(prompt="clay", seed=0)
    with monkeypatch.context() as patch, pytest.raises(EngineUnavailable, match=words):
        patch.setattr(fakes.StreamEngine, "open", full)
        await worker.open(prompt="clay", seed=0)
    assert len((await worker.step(handle, request(9))).frames) == 9
    assert worker.readiness.phase is Phase.READY


@pytest.mark.virtual_time
async def test_the_age_of_the_model_counts_from_when_it_was_ready(
    settings: Settings, engine: FakeEngineModule
) -> None:
    engine.may_warm_up.clear()
    async with started_worker(settings, engine) as worker:
        await asyncio.sleep(5.0)
        assert worker.age_seconds == 0.0
        engine.may_warm_up.set()
        await worker.ready()
        await asyncio.sleep(7.0)
        assert worker.age_seconds == pytest.approx(7.0, abs=0.1)


async def test_law_a_reset_by_a_device_that_is_gone_makes_the_server_unready(
    worker: EngineClient, engine: FakeEngineModule
) -> None:
    """An error of depth that will not pass resets the stream; so would every chunk of everybody."""
    handle = await worker.open(prompt="clay", seed=0)
    engine.device_error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises((StreamWasReset, EngineUnavailable)):
        await worker.step(handle, request(9, "diverge"))
    await until(lambda: worker.readiness.phase is Phase.FAILED, "the worker to see it")
