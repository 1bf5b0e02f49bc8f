"""A stream that looks ahead at the frames of its next chunk: what comes of it, and what must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from streaming.api import (
    DEFAULT_CONTROLS,
    SEEN_TOGETHER,
    ChunkParameters,
    ChunkResult,
    DepthSettings,
    DistanceRegion,
    GenerationFailed,
)
from streaming.blocks.text_conditioning import parse_prompts
from streaming.controls.control_videos import SEPARATE
from streaming.depth.chunk_frames import SeenFrame
from streaming.depth.range import DepthRange
from streaming.engine import LiveStream, StreamEngine
from tests.streaming.tiny_preset import NARROW, narrow_pipeline

SIZE = (32, 48)
CLAY = parse_prompts("clay")


class Brightness:
    """An estimator whose range moves with the scene, and that rounds alike in batches of any size. Counts
    the frames it is given."""

    def __init__(self) -> None:
        self.frames = 0
        self.error: RuntimeError | None = None

    def estimate(self, frames: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        self.frames += len(frames)
        return frames.mean(dim=1)

    def new_range(self) -> DepthRange:
        return DepthRange()


@pytest.fixture(scope="module")
def estimator() -> Brightness:
    return Brightness()


@pytest.fixture(scope="module")
def engine(estimator: Brightness) -> StreamEngine:
    separate = replace(NARROW, control_videos=SEPARATE, controls=DEFAULT_CONTROLS)
    return StreamEngine(narrow_pipeline(separate), estimator, "brightness")


def opened(engine: StreamEngine) -> LiveStream:
    return engine.open(prompt="gold", seed=1)


def camera(count: int, salt: int) -> list[np.ndarray]:
    """Pictures that are resized, of one scene without a cut: something in it gets brighter, chunk by chunk
    and frame by frame."""
    drawn = np.random.default_rng(salt).integers(-9, 10, (count, 9, 13, 3))
    drawn += np.random.default_rng(99).integers(40, 160, (9, 13, 3))
    drawn[:, 3:6, 4:8] += 12 * salt + np.arange(count).reshape(-1, 1, 1, 1)
    return list(drawn.clip(0, 255).astype(np.uint8).repeat(4, 1).repeat(4, 2))


def seen(stream: LiveStream, shown: list[np.ndarray], ahead: int) -> list[np.ndarray | SeenFrame]:
    """The first `ahead` of them as they come, the others when the chunk is full."""
    groups = [
        stream.look_ahead(shown[first : first + SEEN_TOGETHER]) for first in range(0, ahead, SEEN_TOGETHER)
    ]
    return [*(frame for group in groups for frame in group), *shown[ahead:]]


def play(stream: LiveStream, *asked: ChunkParameters, ahead: int) -> list[ChunkResult]:
    results: list[ChunkResult] = []
    for number, each in enumerate(asked):
        shown = camera(stream.frames_wanted, number)
        results.append(stream.step(seen(stream, shown, ahead), lambda each=each: each))
    return results


def same(one: ChunkResult, other: ChunkResult) -> bool:
    return np.array_equal(one.frames, other.frames) and np.array_equal(
        one.depth_preview if one.depth_preview is not None else 0,
        other.depth_preview if other.depth_preview is not None else 0,
    )


ASKED = {
    "nothing": ChunkParameters(),
    "cut": ChunkParameters(prompts=CLAY, transition="cut"),
    "reset": ChunkParameters(reset=True),
    "smoothing": ChunkParameters(depth=DepthSettings(smoothing=0.5)),
    "refinement": ChunkParameters(depth=DepthSettings(refinement=0.5)),
    "depth off": ChunkParameters(depth=DepthSettings(enabled=False)),
    "points": ChunkParameters(depth=DepthSettings(points=((0.5, 0.5, 1.0), (0.1, 0.1, 0.0)))),
    "near": ChunkParameters(distance_region=DistanceRegion(0.5)),
    "other controls": ChunkParameters(controls=(("gray", 0.8), ("lines", 0.5))),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_law_as_frames_come_equals_at_once(engine: StreamEngine, asked: ChunkParameters) -> None:
    """Depth and pictures, whatever is asked of a chunk whose frames have been seen."""
    script = ChunkParameters(), asked, ChunkParameters()
    plain = play(opened(engine), *script, ahead=0)
    for ahead in (3, 9):
        for each, wanted in zip(play(opened(engine), *script, ahead=ahead), plain, strict=True):
            assert same(each, wanted)


def test_what_was_seen_is_not_estimated_again(engine: StreamEngine, estimator: Brightness) -> None:
    stream = opened(engine)
    before = estimator.frames
    play(stream, ChunkParameters(), ChunkParameters(), ahead=6)
    assert estimator.frames - before == 9 + 12


def test_a_frame_that_came_in_the_place_of_one_seen_is_looked_at_anew(engine: StreamEngine) -> None:
    stream, twin = opened(engine), opened(engine)
    shown, others = camera(9, 0), camera(9, 2)
    frames = seen(stream, shown, 9)
    frames[1], frames[4] = others[1], others[4]
    wanted = [others[index] if index in (1, 4) else shown[index] for index in range(9)]
    assert same(stream.step(frames, ChunkParameters()), twin.step(wanted, ChunkParameters()))


def test_law_looking_ahead_changes_nothing_of_a_stream(engine: StreamEngine) -> None:
    """All in vain: none of it is in the next chunks."""
    stream, twin = opened(engine), opened(engine)
    for number in range(2):
        seen(stream, camera(6, 7 + number), 6)
        shown = camera(stream.frames_wanted, number)
        assert same(stream.step(shown, ChunkParameters()), twin.step(shown, ChunkParameters()))


def test_law_reset_equals_fresh_whatever_was_seen_before(engine: StreamEngine) -> None:
    used, fresh = opened(engine), opened(engine)
    play(used, ChunkParameters(), ChunkParameters(), ahead=9)
    shown = camera(12, 3)
    again = used.step(seen(used, shown, 9), ChunkParameters(reset=True))
    assert same(again, fresh.step(shown[-9:], ChunkParameters()))


def test_law_two_streams_that_look_ahead_in_turn_equal_the_same_alone(engine: StreamEngine) -> None:
    alone = [play(opened(engine), *[ChunkParameters()] * 3, ahead=0) for _ in range(2)]
    one, other = opened(engine), opened(engine)
    for number in range(3):
        shown = camera(one.frames_wanted, number)
        ahead = seen(one, shown, 6), seen(other, shown, 9)
        assert same(one.step(ahead[0], ChunkParameters()), alone[0][number])
        assert same(other.step(ahead[1], ChunkParameters()), alone[1][number])


@pytest.mark.parametrize("asked", ["depth off", "points"])
def test_no_depth_is_estimated_ahead_that_nothing_asks_for(
    engine: StreamEngine, estimator: Brightness, asked: str
) -> None:
    stream = opened(engine)
    play(stream, ASKED[asked], ahead=0)
    before = estimator.frames
    assert [frame.estimate for frame in stream.look_ahead(camera(3, 1))] == [None] * 3
    assert estimator.frames == before


def test_an_estimator_that_fails_ahead_harms_nothing(engine: StreamEngine, estimator: Brightness) -> None:
    stream, twin = opened(engine), opened(engine)
    estimator.error = RuntimeError("no kernel")
    try:
        with pytest.raises(RuntimeError, match="no kernel"):
            stream.look_ahead(camera(3, 0))
    finally:
        estimator.error = None
    assert same(*(play(each, ChunkParameters(), ahead=0)[0] for each in (stream, twin)))


def test_a_chunk_that_dies_leaves_what_was_seen_as_good_as_it_was(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, fresh = opened(engine), opened(engine)
    shown = camera(9, 0)
    frames, decode = seen(stream, shown, 9), engine.pipeline.decoder.decode
    with monkeypatch.context() as patch, pytest.raises(GenerationFailed):
        patch.setattr(engine.pipeline.decoder, "decode", lambda z, m: (decode(z, m)[0] * torch.nan, None))
        stream.step(frames, ChunkParameters())
    assert same(stream.step(frames, ChunkParameters()), fresh.step(shown, ChunkParameters()))


def test_a_picture_that_cannot_be_used_is_named(engine: StreamEngine) -> None:
    with pytest.raises(ValueError, match=r"frames\[1\]: expected .* float64"):
        opened(engine).look_ahead([camera(1, 0)[0], np.zeros((4, 4, 3))])
