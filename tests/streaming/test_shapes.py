"""Laws of turned streams: each begins as a fresh stream of that shape, beside any others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from streaming.api import (
    CLEAR,
    DEFAULT_CONTROLS,
    CameraFit,
    CameraStart,
    ChunkParameters,
    ChunkResult,
    DepthSettings,
    DistanceRegion,
    GenerationFailed,
    Orientation,
)
from streaming.blocks.text_conditioning import parse_prompts
from streaming.checkpoints.presets import PRESETS
from streaming.config import PipelineConfig
from streaming.controls.control_videos import SEPARATE
from streaming.depth.estimators import EdgesDepth
from streaming.engine import LiveStream, StreamEngine
from streaming.pipeline import LongLivePipeline
from streaming.shapes import Shapes
from streaming.snapshot import SnapshotRejected
from tests.streaming.tiny_preset import NARROW, make_sensitive, narrow_pipeline

SEPARATED = replace(NARROW, control_videos=SEPARATE, controls=DEFAULT_CONTROLS)
WIDE, UPRIGHT = (32, 48), (48, 32)
NOTHING, TURN, BACK = (
    ChunkParameters(),
    ChunkParameters(orientation="upright"),
    ChunkParameters(orientation="wide"),
)
CLAY = parse_prompts("clay")


def engine_of(width: int, height: int, **config: object) -> StreamEngine:
    preset = replace(SEPARATED, width=width, height=height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, preset.name, preset)
        pipeline = LongLivePipeline({"base_model_name": preset.name, **config}, "cpu", torch.float32)
    make_sensitive(pipeline)
    return StreamEngine(pipeline, EdgesDepth("cpu"), "edges")


@pytest.fixture(scope="module")
def engine() -> StreamEngine:
    return StreamEngine(narrow_pipeline(SEPARATED), EdgesDepth("cpu"), "edges")


@pytest.fixture(scope="module")
def upright() -> StreamEngine:
    """The same networks, loaded for pictures as they are when those of `engine` are turned."""
    return engine_of(32, 48)


def camera(count: int, salt: int, size: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    """Pictures that are cropped and resized."""
    draws = np.random.default_rng(salt)
    small = draws.integers(0, 256, (count, size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    return list(small.repeat(8, 1).repeat(8, 2))


def play(stream: LiveStream, *asked: ChunkParameters, salt: int = 0) -> list[ChunkResult]:
    results: list[ChunkResult] = []
    for number, each in enumerate(asked):
        results.append(stream.step(camera(stream.frames_wanted, salt + number), each))
        stream.flush()
    return results


def pictures(results: Sequence[ChunkResult]) -> list[np.ndarray]:
    return [result.frames for result in results]


def same(some: Sequence[ChunkResult], others: Sequence[ChunkResult]) -> bool:
    pairs = zip(pictures(some), pictures(others), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


MASK = np.zeros((30, 30), np.uint8)
MASK[:, 10:] = 255
ASKED = {
    "nothing": NOTHING,
    "references and a mask": ChunkParameters(
        references=(camera(1, 7)[0], camera(1, 8, (64, 32))[0]), mask=MASK
    ),
    "points": ChunkParameters(depth=DepthSettings(points=((0.2, 0.9, 1.0), (0.8, 0.1, 0.0)))),
    "smoothed and refined": ChunkParameters(depth=DepthSettings(smoothing=0.5, refinement=0.5)),
    "all controls": ChunkParameters(controls=(("gray", 0.7), ("lines", 0.5)), adaptive=0.5),
    "from the camera": ChunkParameters(camera_start=CameraStart(0.8, follows_motion=True)),
    "by distance": ChunkParameters(distance_region=DistanceRegion(0.5)),
    "whole camera": ChunkParameters(fit="fit"),
    "first picture": ChunkParameters(first_picture=camera(1, 9)[0]),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_law_turned_equals_fresh_in_that_shape(
    engine: StreamEngine, upright: StreamEngine, asked: ChunkParameters
) -> None:
    """Bit for bit what a model loaded for that shape makes, once around the ring."""
    turned = engine.open(prompt="gold", seed=1)
    play(turned, NOTHING, NOTHING, salt=50)
    turns = replace(asked, orientation="upright")
    # 12 pictures come for a chunk that takes the newest 9.
    first = turned.step([*camera(3, 99), *camera(9, 0)], turns)
    turned.flush()
    assert (first.frames.shape, first.chunk, first.generation) == ((9, *UPRIGHT, 3), 0, 1)
    fresh = upright.open(prompt="gold", seed=1)
    wanted = play(fresh, asked, *[NOTHING] * 4)
    assert same([first, *play(turned, *[NOTHING] * 4, salt=1)], wanted)


def test_law_turned_back_equals_fresh(engine: StreamEngine) -> None:
    stream, fresh = (engine.open(prompt="gold", seed=1) for _ in range(2))
    play(stream, NOTHING, TURN, NOTHING)
    first = stream.step([*camera(3, 99), *camera(9, 0)], BACK)
    assert (first.frames.shape[1:3], first.generation) == (WIDE, 2)
    stream.flush()
    assert same([first, *play(stream, *[NOTHING] * 3, salt=1)], play(fresh, *[NOTHING] * 4))


def test_law_streams_of_two_shapes_interleaved_equal_each_alone(engine: StreamEngine) -> None:
    asked = {"wide": [NOTHING] * 5, "upright": [TURN, *[NOTHING] * 4]}
    alone = {name: play(engine.open(prompt="gold", seed=1), *each) for name, each in asked.items()}
    beside = {name: engine.open(prompt="gold", seed=1) for name in asked}
    for number in range(5):
        for name, stream in beside.items():
            # The clean pass of each comes after the other's chunk.
            got = stream.step(camera(stream.frames_wanted, number), asked[name][number])
            assert np.array_equal(got.frames, alone[name][number].frames), (name, number)


def test_law_a_square_turns_to_itself_without_a_reset() -> None:
    engine = engine_of(32, 32)
    assert engine.info.can_turn
    stream, other = (engine.open(prompt="gold", seed=1) for _ in range(2))
    turning = play(stream, NOTHING, TURN, BACK)
    assert [(each.chunk, each.generation, len(each.frames)) for each in turning] == [
        (0, 0, 9),
        (1, 0, 12),
        (2, 0, 12),
    ]
    assert same(turning, play(other, *[NOTHING] * 3))


def test_the_orientation_that_it_has_changes_nothing(engine: StreamEngine) -> None:
    stream, other = (engine.open(prompt="gold", seed=1) for _ in range(2))
    for asked in (BACK, TURN):
        assert same(play(stream, asked, asked), play(other, asked, NOTHING))


@pytest.mark.parametrize("width", [48, 32])
def test_where_streams_cannot_be_turned_that_is_said(engine: StreamEngine, width: int) -> None:
    """Loaded upright, or without memory for it."""
    fixed = engine_of(width, 80 - width, turns=False) if width == 48 else engine_of(width, 80 - width)
    assert engine.info.can_turn and not fixed.info.can_turn
    stream, other = (fixed.open(prompt="gold", seed=1) for _ in range(2))
    with pytest.raises(ValueError, match=f"orientation: expected wide, streams of {width}x.* got upright"):
        play(stream, TURN)
    assert same(play(stream, NOTHING, BACK), play(other, NOTHING, NOTHING))


def test_sizes_that_cannot_be_exchanged_have_one_shape() -> None:
    """Of patches that are wider than high."""
    wide = replace(NARROW.transformer, patch_size=(1, 1, 2))
    preset = replace(NARROW, transformer=wide, width=32, height=8)
    assert not Shapes(preset, lambda preset: None, turns=True).can_turn  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["references", "mask"])
def test_what_is_of_the_old_shape_must_come_anew_with_the_turn(engine: StreamEngine, name: str) -> None:
    stream = engine.open(prompt="gold", seed=1)
    given = {"references": (camera(1, 7)[0],), "mask": MASK}
    play(stream, ChunkParameters(**{name: given[name]}))
    with pytest.raises(ValueError, match=f"orientation: expected {name} with it, anew or CLEAR, got none"):
        play(stream, TURN)
    assert play(stream, NOTHING)[0].frames.shape[1:3] == WIDE
    assert play(stream, replace(TURN, **{name: CLEAR}))[0].frames.shape[1:3] == UPRIGHT


@pytest.mark.parametrize("asked", ["turn", "fit"])
@pytest.mark.parametrize("late", [False, True])
def test_frames_seen_ahead_in_another_shape_are_fitted_anew(
    engine: StreamEngine, asked: str, late: bool
) -> None:
    changed = TURN if asked == "turn" else ChunkParameters(fit="fit")
    ahead, at_once = (engine.open(prompt="gold", seed=1) for _ in range(2))
    for stream in (ahead, at_once):
        play(stream, NOTHING)
    shown = camera(12, 3)
    got = ahead.step([*ahead.look_ahead(shown[:10]), *shown[10:]], (lambda: changed) if late else changed)
    assert same([got], [at_once.step(shown, changed)])
    # What is seen from here on is seen in the new shape: not a pixel of it is fitted again.
    assert ahead.look_ahead(shown[:1])[0].levels.shape[1:] == got.frames.shape[1:3]


def break_off(engine: StreamEngine, patch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    patch.setattr(engine.pipeline.passes, "denoise", broken)


@pytest.mark.parametrize("error", [GenerationFailed("out of tune"), RuntimeError("a fault")])
def test_a_turn_that_fails_has_not_happened(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stream, fresh = (engine.open(prompt="gold", seed=1) for _ in range(2))
    play(stream, NOTHING)
    with monkeypatch.context() as patch:
        break_off(engine, patch, error)
        with pytest.raises(type(error)):
            play(stream, TURN)
    assert stream.snapshot().parameters.orientation == "wide"
    assert same(play(stream, NOTHING, NOTHING), play(fresh, NOTHING, NOTHING))


def test_a_stream_that_has_ended_upright_leaves_a_cache_as_good_as_new(engine: StreamEngine) -> None:
    made = len(engine.pipeline._caches)
    stream = engine.open(prompt="gold", seed=1)
    play(stream, TURN)
    del stream
    one = play(engine.open(prompt="gold", seed=1), NOTHING, NOTHING)
    assert same(one, play(engine.open(prompt="gold", seed=1), NOTHING, NOTHING))
    assert len(engine.pipeline._caches) <= made + 1


@pytest.mark.parametrize("chunks", [0, 2, 5])
def test_a_snapshot_of_a_turned_stream_goes_on_turned(engine: StreamEngine, chunks: int) -> None:
    """And is near the stream that was never moved, with what was asked for in that shape."""
    stream = engine.open(prompt="gold", seed=1)
    given = ChunkParameters(
        orientation="upright", mask=MASK, references=(camera(1, 7)[0],), fit="fit", seed=3, reset=True
    )
    play(stream, given, *[NOTHING] * chunks)
    other = engine.restore(stream.snapshot().parts())
    here, there = (play(each, NOTHING, salt=40)[0].frames for each in (stream, other))
    assert here.shape == there.shape == (12, *UPRIGHT, 3)
    assert np.abs(here.astype(int) - there).mean() < 12
    assert other.snapshot().parameters.fit == "fit"


def test_a_snapshot_says_nothing_of_a_shape_that_was_not_asked_for(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=1)
    play(stream, NOTHING)
    assert b"orientation" not in (values := stream.snapshot().parts()["stream"]) and b'"fit"' not in values
    play(stream, ChunkParameters(orientation="upright", fit="fit"))
    assert b"orientation" in (values := stream.snapshot().parts()["stream"]) and b'"fit"' in values


def test_a_snapshot_of_a_shape_that_is_not_there_is_refused(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=1)
    play(stream, TURN)
    parts = stream.snapshot().parts()
    with pytest.raises(SnapshotRejected, match="orientation: expected wide, streams of 48x32 cannot"):
        engine_of(48, 32, turns=False).restore(parts)
    for name, known in (("orientation", "wide or upright"), ("fit", "fill or fit")):
        was = {"orientation": b'"upright"', "fit": b'"fill"'}[name]
        values = parts["stream"].replace(b'"orientation": ' + was, b'"orientation": "round"')
        if name == "fit":
            values = parts["stream"][:-1] + b', "fit": [1]}'
        with pytest.raises(SnapshotRejected, match=f"{name}: expected {known}, got"):
            engine.restore(parts | {"stream": values})


def test_a_camera_that_is_shown_whole_has_far_bars(engine: StreamEngine) -> None:
    """Black in the picture, far in depth, whatever guides it; the camera between them."""
    stream = engine.open(prompt="gold", seed=1)
    for depth in (DepthSettings(), DepthSettings(points=((0.5, 0.5, 1.0),))):
        asked = ChunkParameters(fit="fit", depth=depth, controls=(("gray", 1.0),))
        result = stream.step(camera(stream.frames_wanted, 1, (48, 32)), asked)
        assert result.depth_preview is not None and result.gray_preview is not None
        for preview in (result.depth_preview, result.gray_preview):
            # Columns 13 to 33 of 48 show the camera, and a preview has 128.
            assert (preview[:, :33] == 0).all() and (preview[:, 92:] == 0).all()
            assert preview[:, 36:86].max() > 20


def test_fit_takes_effect_without_a_reset_and_stays(engine: StreamEngine) -> None:
    stream, other = (engine.open(prompt="gold", seed=1) for _ in range(2))
    asked: list[CameraFit | None] = ["fill", "fit", None, "fill"]
    results = play(stream, *(ChunkParameters(fit=fit) for fit in asked))
    assert [(each.chunk, each.generation) for each in results] == [(n, 0) for n in range(4)]
    filled = play(other, *[NOTHING] * 4)
    are_equal = [np.array_equal(*each) for each in zip(pictures(results), pictures(filled), strict=True)]
    assert are_equal == [True, False, False, False]


@pytest.mark.parametrize("orientation", ["wide", "upright"])
def test_a_pipelines_stream_may_begin_in_either_orientation(
    engine: StreamEngine, orientation: Orientation
) -> None:
    pipeline = engine.pipeline
    session = pipeline.open_session(seed=1, orientation=orientation)
    frames = pipeline.generate(session, CLAY)
    assert tuple(frames.shape[1:3]) == (WIDE if orientation == "wide" else UPRIGHT)
    assert len(pipeline.generate(session, CLAY)) == 12
    assert session.generation == 0


def test_a_configuration_may_leave_turning_out() -> None:
    assert PipelineConfig().turns and not PipelineConfig.from_mapping({"turns": False}).turns
