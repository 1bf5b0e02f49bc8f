"""The live border: camera pictures of any size in, `uint8` pictures of the model's size out."""

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import streaming.engine
import streaming.following
from streaming.acceleration import Speed
from streaming.api import ChunkParameters, Decoder, GenerationFailed
from streaming.checkpoints.memory import Needs, needs
from streaming.checkpoints.presets import PRESETS
from streaming.depth.estimators import DepthRange, EdgesDepth
from streaming.engine import LiveStream, StreamEngine, choose_device
from streaming.modules.taehv import TAEHV
from streaming.modules.wan_vae import WanVAE, WanVaeConfig
from tests.streaming.tiny_preset import NARROW, narrow_pipeline


@pytest.fixture(scope="module")
def engine() -> StreamEngine:
    """The built-in model, narrower and at a size for tests."""
    return StreamEngine(narrow_pipeline(), EdgesDepth(torch.device("cpu")), "edges")


def pictures(count: int, salt: int = 0, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    return list(np.random.default_rng(salt).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def run(stream: LiveStream, chunks: int, salt: int = 0) -> list[np.ndarray]:
    return [
        stream.step(pictures(stream.frames_wanted, salt + n), ChunkParameters()).frames for n in range(chunks)
    ]


def test_nine_pictures_then_twelve_numbered_without_a_gap(engine: StreamEngine) -> None:
    stream, first_frame = engine.open(prompt="gold", seed=0), 0
    for chunk, count in enumerate((9, 12, 12)):
        assert stream.frames_wanted == count
        result = stream.step(pictures(count, chunk), ChunkParameters())
        assert result.frames.shape == (count, engine.info.height, engine.info.width, 3)
        assert result.frames.dtype == np.uint8 and result.frames.flags.c_contiguous
        assert (result.chunk, result.first_frame, result.generation) == (chunk, first_frame, 0)
        assert result.timings_ms.keys() == {"depth", "encode", "generate", "decode", "total"}
        first_frame += count


def test_an_engine_allows_the_controls_it_was_loaded_for() -> None:
    load = {"model": "embedded", "depth": "edges", "device": "cpu", "random_weights": True}
    assert StreamEngine.load(**load).info.allowed_controls == ("depth", "gray", "lines")
    engine = StreamEngine.load(**load, controls=["gray", "depth"])
    assert engine.info.allowed_controls == ("depth", "gray") == engine.pipeline.preset.allowed_controls
    for wrong, named in ((["pose"], "got pose"), ([], "got none"), (["gray", "gray"], "got gray, gray")):
        with pytest.raises(ValueError, match=f"must be one or more of depth, gray, lines, {named}"):
            StreamEngine.load(**load, controls=wrong)


def test_the_same_seed_and_pictures_give_the_same_stream(engine: StreamEngine) -> None:
    one, same, other = (run(engine.open(prompt="gold", seed=seed), 2) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[1], other[1])


def test_interleaved_streams_equal_the_same_alone(engine: StreamEngine) -> None:
    alone = [run(engine.open(prompt=prompt, seed=1), 2, salt) for salt, prompt in ((0, "gold"), (9, "clay"))]
    streams = [engine.open(prompt=prompt, seed=1) for prompt in ("gold", "clay")]
    for n in range(2):
        for number, (salt, stream) in enumerate(zip((0, 9), streams, strict=True)):
            got = stream.step(pictures(stream.frames_wanted, salt + n), ChunkParameters()).frames
            assert np.array_equal(got, alone[number][n])


def test_settling_finishes_the_last_chunk_of_every_open_stream(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    monkeypatch.setattr(engine.pipeline.passes, "write_clean_kv", written.append)
    streams = [engine.open(prompt="gold", seed=seed) for seed in range(3)]
    for stream in streams:
        run(stream, 1)
    del streams[0], stream
    gc.collect()
    engine.flush()
    assert len(written) == 2, "a stream that is gone has nothing to finish"
    engine.flush()
    assert len(written) == 2


class Brightness:
    """A depth estimator whose range moves with the scene."""

    def estimate(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.mean(dim=1)

    def new_range(self) -> DepthRange:
        return DepthRange()


def test_reset_equals_fresh_and_keeps_the_prompt(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "estimator", Brightness())
    used, fresh = engine.open(prompt="clay", seed=3), engine.open(prompt="gold", seed=4)
    used.step([frame // 3 for frame in pictures(9, salt=50)], ChunkParameters())
    used.step(pictures(12, salt=51), ChunkParameters(prompts=(("gold", 1.0),)))
    frames = pictures(12, salt=1)
    result = used.step(frames, ChunkParameters(reset=True, seed=4))
    assert (result.chunk, result.first_frame, result.generation) == (0, 21, 1)
    assert np.array_equal(result.frames, fresh.step(frames[-9:], ChunkParameters()).frames)
    frames = pictures(12, salt=2)
    assert np.array_equal(
        used.step(frames, ChunkParameters()).frames, fresh.step(frames, ChunkParameters()).frames
    )


def test_a_cut_to_the_same_prompt_starts_afresh_all_the_same(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=0)
    run(stream, 2)
    result = stream.step(pictures(12), ChunkParameters(prompts=(("gold", 1.0),), transition="cut"))
    assert (result.chunk, result.generation, len(result.frames)) == (0, 1, 9)


def test_what_was_asked_with_bad_pictures_has_not_happened(engine: StreamEngine) -> None:
    stream, twin = (engine.open(prompt="gold", seed=0) for _ in range(2))
    run(stream, 1), run(twin, 1)
    bad = [frame.astype(np.float64) for frame in pictures(12)]
    with pytest.raises(ValueError, match="float64"):
        stream.step(bad, ChunkParameters(prompts=(("clay", 1.0),), transition="cut", guidance_scale=0.1))
    frames = pictures(12, salt=4)
    assert np.array_equal(
        stream.step(frames, ChunkParameters()).frames, twin.step(frames, ChunkParameters()).frames
    )


def test_depth_that_is_not_finite_is_told_and_replaced(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Brightness):
        def estimate(self, frames: torch.Tensor) -> torch.Tensor:
            depth = super().estimate(frames)
            depth[:, 0, 0] = float("nan")
            return depth

    monkeypatch.setattr(engine, "estimator", Broken())
    run(engine.open(prompt="gold", seed=0), 2)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "edges gave depth that is not finite"
    ]


def test_a_prompt_shapes_the_chunk_it_comes_with(engine: StreamEngine) -> None:
    plain, switched, cut = (engine.open(prompt="gold", seed=0) for _ in range(3))
    for stream in (plain, switched, cut):
        stream.step(pictures(9), ChunkParameters())
    frames = pictures(12, salt=1)
    before = plain.step(frames, ChunkParameters()).frames
    after = switched.step(frames, ChunkParameters(prompts=(("clay", 1.0),)))
    assert after.generation == 0 and not np.array_equal(after.frames, before)
    fresh_start = cut.step(frames, ChunkParameters(prompts=(("clay", 1.0),), transition="cut"))
    assert (fresh_start.chunk, fresh_start.generation, len(fresh_start.frames)) == (0, 1, 9)


def test_bad_pictures_leave_the_stream_unharmed(engine: StreamEngine) -> None:
    stream, twin = (engine.open(prompt="gold", seed=0) for _ in range(2))
    with pytest.raises(ValueError, match="expected 9 pictures, got 12"):
        stream.step(pictures(12), ChunkParameters())
    with pytest.raises(ValueError, match=r"frames\[0\].*float64"):
        stream.step([frame.astype(np.float64) for frame in pictures(9)], ChunkParameters())
    with pytest.raises(ValueError, match="guidance_scale must be 0 ... 2, got 3"):
        ChunkParameters(guidance_scale=3)
    assert np.array_equal(run(stream, 1)[0], run(twin, 1)[0])


def test_values_that_are_not_finite_name_chunk_and_stage_and_restart_the_stream(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = engine.open(prompt="gold", seed=0)
    run(stream, 1)
    decode = engine.pipeline.models.decoder.decode
    broken = lambda z, memory: (decode(z, memory)[0] * float("nan"), decode(z, memory)[1])  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(engine.pipeline.models.decoder, "decode", broken)
        with pytest.raises(GenerationFailed, match="chunk 1: decode"):
            stream.step(pictures(12), ChunkParameters())
    assert stream.frames_wanted == 9
    assert stream.step(pictures(9), ChunkParameters()).generation == 1


def test_a_missing_device_is_named() -> None:
    with pytest.raises(ValueError, match="device 'cuda:7' is not available|device 'tpu'"):
        choose_device("tpu" if choose_device("auto").type == "cuda" else "cuda:7")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'mps' is not available here"):
        choose_device("mps")


def test_a_prompt_encoded_ahead_is_not_encoded_by_its_chunk(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = engine.open(prompt="clay", seed=0)
    stream.step(pictures(9), ChunkParameters())
    prompts = (("a paper lantern, seen once", 1.0), ("a glass whale, seen once", 3.0))
    engine.encode([text for text, _ in prompts])

    def refuse(texts: list[str]) -> None:
        raise RuntimeError(f"encoded: {texts}")

    monkeypatch.setattr(engine.pipeline.text, "_encode", refuse)
    stream.step(pictures(12), ChunkParameters(prompts=prompts))
    with pytest.raises(RuntimeError, match="encoded: \\['never encoded'\\]"):
        stream.step(pictures(12), ChunkParameters(prompts=(("never encoded", 1.0),)))


@pytest.fixture
def tiny_big_model(monkeypatch: pytest.MonkeyPatch) -> str:
    """A preset that needs files, as the published one does, and is small."""
    wan = WanVaeConfig(dim=8)
    model = replace(NARROW, name="tiny", needs_files=True, autoencoder=wan, height=32, width=48)
    monkeypatch.setitem(PRESETS, "tiny", model)
    monkeypatch.setattr(streaming.engine, "random_depth", lambda device, dtype: EdgesDepth(device))
    return "tiny"


@pytest.mark.parametrize(
    ("speed", "decoder", "expected"),
    [
        ("exact", "auto", WanVAE),
        ("fast", "auto", TAEHV),
        ("fast", "vae", WanVAE),
        ("exact", "taehv", TAEHV),
    ],
)
def test_speed_names_the_decoder_unless_it_is_named(
    tiny_big_model: str, speed: Speed, decoder: Decoder, expected: type
) -> None:
    engine = StreamEngine.load(
        model=tiny_big_model, device="cpu", speed=speed, decoder=decoder, random_weights=True
    )
    assert isinstance(engine.pipeline.models.decoder, expected)
    assert not engine.info.trained and engine.info.depth == "random weights"
    assert engine.open(prompt="gold", seed=0).step(pictures(9), ChunkParameters()).frames.shape == (
        9,
        32,
        48,
        3,
    )


@pytest.mark.parametrize("size", [None, (64, 32), (32, 64)])
def test_a_model_is_loaded_for_the_size_that_is_asked(
    tiny_big_model: str, size: tuple[int, int] | None
) -> None:
    """For its pictures, and for the memory that it needs."""
    engine = StreamEngine.load(model=tiny_big_model, size=size, device="cpu", random_weights=True)
    info = engine.info
    assert (info.width, info.height) == (size or (48, 32))
    assert info.can_turn == (info.width > info.height)
    frames = engine.open(prompt="gold", seed=0).step(pictures(9), ChunkParameters()).frames
    assert frames.shape == (9, info.height, info.width, 3)


def test_a_size_that_cannot_be_is_refused_before_anything_is_loaded(tiny_big_model: str) -> None:
    with pytest.raises(
        ValueError, match="size of tiny must be multiples of 16, .* got 50x32; nearest: 48x32"
    ):
        StreamEngine.load(model=tiny_big_model, size=(50, 32), device="cpu")


def test_where_memory_is_short_streams_cannot_be_turned(
    tiny_big_model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Needs] = []

    def has_room(wanted: Needs, *_: object, **__: object) -> bool:
        asked.append(wanted)
        return False

    monkeypatch.setattr(streaming.engine, "fits", has_room)
    engine = StreamEngine.load(model=tiny_big_model, device="cpu", random_weights=True)
    assert not engine.info.can_turn and "no stream can be turned upright" in caplog.text
    (wanted,) = asked
    assert wanted.shared > needs(wanted.preset, wanted.dtype).shared


def test_random_weights_are_not_the_trained_ones() -> None:
    trained = StreamEngine.load(model="embedded", depth="edges", device="cpu")
    drawn = StreamEngine.load(model="embedded", depth="edges", device="cpu", random_weights=True)
    assert trained.info.trained and not drawn.info.trained
    assert trained.info.about and not drawn.info.about


def test_on_a_gpu_compiled_parts_have_a_place_before_anything_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []
    monkeypatch.setattr(streaming.engine, "compile_cache", lambda given: given)
    monkeypatch.setattr(streaming.engine, "keep_compiled", done.append)
    monkeypatch.setattr(streaming.engine, "optimizations_for", lambda *asked: asked)
    asked = "fast", torch.device("cuda"), torch.bfloat16
    assert streaming.engine.optimizations_of(*asked, Path("/kept")) == asked
    assert done == [Path("/kept")]


def test_a_cpu_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming.following, "accelerate", lambda *_: pytest.fail("a CPU was accelerated"))
    monkeypatch.setattr(streaming.engine, "compile_cache", lambda _: pytest.fail("nothing is compiled"))
    StreamEngine.load(model="embedded", depth="edges", device="cpu", speed="fast", random_weights=True)


def test_a_warm_up_tells_the_pace_of_an_ordinary_chunk(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that switches nothing, and not the first, which is slow."""
    now, asked = 100.0, list[ChunkParameters]()

    def warm_up_chunk(stream: LiveStream, controls: ChunkParameters) -> None:
        nonlocal now
        now += 0.125 if asked else 8.0
        asked.append(controls)

    monkeypatch.setattr(streaming.engine, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(engine, "_warm_up_chunk", warm_up_chunk)
    assert engine.warm_up() == 12 / 0.125
    assert len(asked) == 2 and asked[0].prompts and asked[1] == ChunkParameters()
