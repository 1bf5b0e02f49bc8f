"""Faults inside the engine: no memory left, a depth network that fails, a chunk that is not finished."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from streaming.api import ChunkParameters, GenerationFailed
from streaming.depth.estimators import EdgesDepth
from streaming.engine import LiveStream, StreamEngine
from streaming.gpu.memory import is_out_of_memory
from tests.streaming.tiny_preset import narrow_pipeline

Fault = Callable[[StreamEngine, pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def engine() -> StreamEngine:
    return StreamEngine(narrow_pipeline(), EdgesDepth(torch.device("cpu")), "edges")


def step(stream: LiveStream, seen: list[np.ndarray] | None = None) -> np.ndarray:
    frames = np.random.default_rng(1).integers(0, 256, (stream.frames_wanted, 48, 64, 3), dtype=np.uint8)
    on_frames = None if seen is None else lambda piece: seen.append(piece.frames)
    return stream.step(list(frames), ChunkParameters(), on_frames).frames


def full(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


def in_depth(engine: StreamEngine, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine.estimator, "estimate", full)


def in_a_pass(engine: StreamEngine, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine.pipeline.passes, "denoise", full)


def in_the_decoder(engine: StreamEngine, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine.pipeline.models.decoder, "decode", full)


@pytest.mark.parametrize("fault", [in_depth, in_a_pass, in_the_decoder])
def test_law_a_chunk_without_memory_resets_its_stream_and_no_other(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """In words without numbers of the device: they are for the log."""
    stream, twin, other = (engine.open(prompt="gold", seed=0) for _ in range(3))
    for one in (stream, twin, other):
        step(one)
    with monkeypatch.context() as patch:
        fault(engine, patch)
        words = "^chunk 1: the device has no memory left for it; stream was reset$"
        with pytest.raises(GenerationFailed, match=words):
            step(stream)
    assert stream.frames_wanted == 9
    fresh = engine.open(prompt="gold", seed=0)
    for _ in range(2):
        assert np.array_equal(step(stream), step(fresh))
    assert np.array_equal(step(other), step(twin)), "they have not heard of it"


def test_law_frames_that_were_given_away_are_counted_when_the_rest_finds_no_memory(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, seen = engine.open(prompt="gold", seed=0), list[np.ndarray]()
    step(stream)
    decode = engine.pipeline.models.decoder.decode
    with monkeypatch.context() as patch:
        results = iter([decode])
        patch.setattr(engine.pipeline.models.decoder, "decode", lambda *of: next(results, full)(*of))
        with pytest.raises(GenerationFailed, match="no memory"):
            step(stream, seen)
    frames = np.zeros((9, 48, 64, 3), np.uint8)
    assert stream.step(list(frames), ChunkParameters()).first_frame == 9 + sum(map(len, seen)) > 9


def test_law_a_depth_network_that_fails_resets_the_stream_in_words(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED at /srv/model.py")

    stream = engine.open(prompt="gold", seed=0)
    step(stream)
    with monkeypatch.context() as patch:
        patch.setattr(engine.estimator, "estimate", fails)
        words = "^chunk 1: depth could not be estimated; stream was reset$"
        with pytest.raises(GenerationFailed, match=words):
            step(stream)
    assert "CUDNN_STATUS" in caplog.text, "its own words are for the log"
    assert np.array_equal(step(stream), step(engine.open(prompt="gold", seed=0)))


def test_law_a_window_that_could_not_be_recomputed_ahead_is_told_by_the_next_chunk(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would be of one prompt, half of another."""
    stream = engine.open(prompt="gold", seed=0)
    step(stream)
    stream.flush()
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(engine.pipeline.passes, "forward", full)
        stream.recache_ahead((("clay", 1.0),))
    with pytest.raises(GenerationFailed, match="under the new prompt; stream was reset$"):
        step(stream)
    assert np.array_equal(step(stream), step(engine.open(prompt="gold", seed=0)))


def test_law_a_chunk_that_could_not_be_finished_is_told_by_the_next_and_the_stream_goes_on(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clean pass comes after the pictures. Who asked for 12 more would ask in vain for ever."""
    stream = engine.open(prompt="gold", seed=0)
    step(stream)
    step(stream)
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(engine.pipeline.passes, "write_clean_kv", full)
        stream.flush()
    with pytest.raises(GenerationFailed, match="^the last chunk could not be finished; stream was reset$"):
        stream.step([np.zeros((48, 64, 3), np.uint8)] * 12, ChunkParameters())
    assert stream.frames_wanted == 9
    assert np.array_equal(step(stream), step(engine.open(prompt="gold", seed=0)))


def test_law_a_stream_that_finds_no_memory_is_refused_in_words(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(GenerationFailed) as refused:
        patch.setattr(engine.pipeline, "open_session", full)
        engine.open(prompt="gold", seed=0)
    assert str(refused.value) == "the device has no memory left for another stream"
    step(engine.open(prompt="gold", seed=0))


def test_memory_that_ran_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as on_a_cpu:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(on_a_cpu.value) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("out of cheese")) and not is_out_of_memory(ValueError())
