"""Everything that can be asked of a running stream, and what must not come of it."""

import itertools
from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from streaming.api import (
    CLEAR,
    DEFAULT_CONTROLS,
    CameraStart,
    ChunkParameters,
    ChunkResult,
    DepthSettings,
    DistanceRegion,
    GenerationFailed,
)
from streaming.blocks.adaptive_scale import AdaptiveScale
from streaming.blocks.text_conditioning import parse_prompts
from streaming.controls.control_videos import SEPARATE, ControlVideo
from streaming.controls.gray import gray_of
from streaming.controls.lines import lines_of
from streaming.depth.estimators import DepthRange, EdgesDepth
from streaming.depth.stream_depth import StreamDepth
from streaming.engine import LiveStream, StreamEngine
from streaming.frames import fit_frames
from streaming.pipeline import LongLivePipeline
from streaming.session import StreamSession
from streaming.stream import preview
from tests.streaming.tiny_preset import NARROW, narrow_pipeline

SIZE = (32, 48)
CLAY = parse_prompts("clay")


@pytest.fixture(scope="module")
def engine() -> StreamEngine:
    """A video for each control, of which depth is on at first: as the published models have it."""
    separate = replace(NARROW, control_videos=SEPARATE, controls=DEFAULT_CONTROLS)
    return StreamEngine(narrow_pipeline(separate), EdgesDepth(torch.device("cpu")), "edges")


@pytest.fixture(scope="module")
def trained() -> StreamEngine:
    """The built-in model as it is, for what only trained weights have."""
    cpu = torch.device("cpu")
    pipeline = LongLivePipeline({"height": SIZE[0], "width": SIZE[1]}, cpu, torch.float32)
    return StreamEngine(pipeline, EdgesDepth(cpu), "edges")


@pytest.fixture(scope="module")
def by_brightness(engine: StreamEngine) -> StreamEngine:
    """The same networks behind an estimator whose range moves with the scene."""
    return StreamEngine(engine.pipeline, Brightness(), "brightness")


@pytest.fixture(scope="module")
def plain(engine: StreamEngine) -> list[ChunkResult]:
    """Three chunks of a stream of which nothing is asked."""
    return play(engine.open(prompt="gold", seed=1), *[ChunkParameters()] * 3)


def camera(count: int, salt: int = 0) -> list[np.ndarray]:
    """Coarse pictures of the model's size, so that nothing is resized."""
    blocks = np.random.default_rng(salt).integers(
        0, 256, (count, SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8
    )
    return list(blocks.repeat(8, 1).repeat(8, 2))


def play(stream: LiveStream, *changes: ChunkParameters, salt: int = 0) -> list[ChunkResult]:
    return [stream.step(camera(stream.frames_wanted, salt + n), each) for n, each in enumerate(changes)]


def left_kept() -> np.ndarray:
    mask = np.full(SIZE, 255, np.uint8)
    mask[:, : SIZE[1] // 2] = 0
    return mask


def a_picture(level: int, size: tuple[int, int] = (30, 50)) -> np.ndarray:
    return np.full((*size, 3), (level, 255 - level, 128), np.uint8)


ASKED: dict[str, ChunkParameters] = {
    "prompts": ChunkParameters(prompts=CLAY),
    "weights": ChunkParameters(prompts=(("gold", 3.0), ("clay", 1.0))),
    "blend": ChunkParameters(prompts=CLAY, transition="blend", blend_chunks=2),
    "cut": ChunkParameters(prompts=CLAY, transition="cut"),
    "scale": ChunkParameters(guidance_scale=0.3),
    "depth off": ChunkParameters(depth=DepthSettings(enabled=False)),
    "gray": ChunkParameters(controls=(("gray", 0.8),)),
    "lines": ChunkParameters(controls=(("lines", 1.0), ("depth", 0.5))),
    "gray alone": ChunkParameters(controls=(("gray", 1.0),), depth=DepthSettings(enabled=False)),
    "references": ChunkParameters(references=(a_picture(0), a_picture(250, (90, 20)))),
    "mask": ChunkParameters(mask=left_kept()),
    "near": ChunkParameters(distance_region=DistanceRegion(0.5)),
    "far, without depth": ChunkParameters(
        distance_region=DistanceRegion(0.5, "far"), depth=DepthSettings(enabled=False)
    ),
    "steps": ChunkParameters(steps=(1000, 250)),
    "camera start": ChunkParameters(camera_start=CameraStart(0.8)),
    "published start": ChunkParameters(camera_start=CameraStart(0.8, "published"), steps=(700, 500)),
    "camera start by motion": ChunkParameters(camera_start=CameraStart(0.8, follows_motion=True)),
    "everything": ChunkParameters(
        prompts=CLAY,
        transition="blend",
        guidance_scale=0.5,
        controls=(("gray", 1.0), ("lines", 0.3)),
        adaptive=1.0,
        depth=DepthSettings(enabled=False),
        references=(a_picture(9),),
        mask=left_kept(),
        steps=(1000,),
        camera_start=CameraStart(0.9),
    ),
}
ASKED["first picture"] = ChunkParameters(prompts=CLAY, transition="cut", first_picture=a_picture(200))
each_control = pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())


def same(one: ChunkResult, other: ChunkResult) -> bool:
    return np.array_equal(one.frames, other.frames)


Beside = Callable[[ChunkParameters], tuple[list[ChunkResult], list[ChunkResult]]]


@pytest.fixture(scope="module")
def beside(engine: StreamEngine) -> Beside:
    """Three chunks of a stream of which something is asked with the second, and of one beside it of which
    nothing is, in turn; played once for all tests that look at them."""
    kept: dict[int, tuple[list[ChunkResult], list[ChunkResult]]] = {}

    def played(asked: ChunkParameters) -> tuple[list[ChunkResult], list[ChunkResult]]:
        if id(asked) not in kept:
            streams = tuple(engine.open(prompt="gold", seed=1) for _ in range(2))
            asking, other = kept[id(asked)] = [], []
            for number, controls in enumerate((ChunkParameters(), asked, ChunkParameters())):
                asking += play(streams[0], controls, salt=number)
                other += play(streams[1], ChunkParameters(), salt=number)
        return kept[id(asked)]

    return played


@each_control
def test_what_one_session_asks_does_not_touch_another(
    beside: Beside, plain: list[ChunkResult], asked: ChunkParameters
) -> None:
    for number, other in enumerate(beside(asked)[1]):
        assert same(other, plain[number])


@each_control
def test_what_is_asked_shapes_the_chunk_it_comes_with(
    beside: Beside, plain: list[ChunkResult], asked: ChunkParameters
) -> None:
    before, after = plain[1], beside(asked)[0][1]
    count = len(after.frames)
    assert count == (9 if asked.transition == "cut" else 12)
    assert not np.array_equal(after.frames, before.frames[-count:])


class Brightness:
    """A depth estimator whose range moves with the scene."""

    def estimate(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.mean(dim=1)

    def new_range(self) -> DepthRange:
        return DepthRange()


def after_the_dark(engine: StreamEngine) -> LiveStream:
    """A stream that has seen a dark scene, which the range must forget with a reset."""
    stream = engine.open(prompt="gold", seed=1)
    stream.step([frame // 3 for frame in camera(9)], ChunkParameters())
    return stream


@pytest.fixture(scope="module")
def undisturbed(by_brightness: StreamEngine) -> ChunkResult:
    """The chunk after the dark scene."""
    return play(after_the_dark(by_brightness), ChunkParameters(), salt=5)[0]


@pytest.fixture(scope="module")
def fresh(by_brightness: StreamEngine) -> list[ChunkResult]:
    """The first chunks of a stream."""
    return play(by_brightness.open(prompt="gold", seed=1), *[ChunkParameters()] * 2)


@each_control
def test_what_was_asked_of_a_chunk_that_failed_has_not_happened(
    by_brightness: StreamEngine,
    undisturbed: ChunkResult,
    fresh: list[ChunkResult],
    asked: ChunkParameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bad pictures leave the stream as it was; numbers that blow up reset it, and no more."""
    engine, stream = by_brightness, after_the_dark(by_brightness)
    bad = [frame.astype(np.float64) for frame in camera(12)]
    with pytest.raises(ValueError, match="float64"):
        stream.step(bad, asked)
    assert same(play(stream, ChunkParameters(), salt=5)[0], undisturbed)
    decode = engine.pipeline.decoder.decode
    with monkeypatch.context() as patch:
        patch.setattr(engine.pipeline.decoder, "decode", lambda z, m: (decode(z, m)[0] * float("nan"), None))
        with pytest.raises(GenerationFailed):
            play(stream, asked)
    for again, wanted in zip(play(stream, *[ChunkParameters()] * 2), fresh, strict=True):
        assert same(again, wanted)


@pytest.mark.parametrize(
    "controls", [{"references": (a_picture(3),)}, {"mask": left_kept()}], ids=["references", "mask"]
)
def test_a_failure_inside_the_engine_leaves_no_half_change(
    engine: StreamEngine, controls: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control is there already when the text is refused."""
    stream, twin = (engine.open(prompt="gold", seed=1) for _ in range(2))
    play(stream, ChunkParameters()), play(twin, ChunkParameters())
    with monkeypatch.context() as patch:
        patch.setattr(engine.pipeline.text, "_context", lambda _prompts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            play(stream, ChunkParameters(prompts=CLAY, depth=DepthSettings(enabled=False), **controls))
    assert same(*(play(each, ChunkParameters(), salt=5)[0] for each in (stream, twin)))


CLEARED: dict[str, tuple[ChunkParameters, ChunkParameters]] = {
    "references": (ASKED["references"], ChunkParameters(references=CLEAR)),
    "mask": (ASKED["mask"], ChunkParameters(mask=CLEAR)),
    "bright mask": (ASKED["mask"], ChunkParameters(mask=np.full((1, 1), 255, np.uint8))),
    "near": (ASKED["near"], ChunkParameters(distance_region=CLEAR)),
    "steps": (ASKED["steps"], ChunkParameters(steps=CLEAR)),
    "camera start": (ASKED["camera start"], ChunkParameters(camera_start=CameraStart())),
    "camera start by motion": (ASKED["camera start by motion"], ChunkParameters(camera_start=CameraStart())),
    "scale": (ASKED["scale"], ChunkParameters(guidance_scale=1.0)),
    "depth off": (ASKED["depth off"], ChunkParameters(depth=DepthSettings())),
    "gray": (ASKED["gray"], ChunkParameters(controls=(("gray", 0.0),))),
    "lines": (ASKED["lines"], ChunkParameters(controls=(("lines", 0.0), ("depth", 1.0)))),
}


@pytest.mark.parametrize(("asked", "cleared"), CLEARED.values(), ids=CLEARED.keys())
def test_what_is_cleared_is_gone_after_a_reset(
    engine: StreamEngine, asked: ChunkParameters, cleared: ChunkParameters
) -> None:
    """Before one, the stream's memory may know of it."""
    stream, never = (engine.open(prompt="gold", seed=1) for _ in range(2))
    play(stream, asked, ChunkParameters(), cleared)
    frames = camera(12, 3)
    again = stream.step(frames, ChunkParameters(reset=True))
    assert same(again, never.step(frames[-9:], ChunkParameters()))


def test_a_reset_keeps_all_that_was_asked(engine: StreamEngine) -> None:
    used, fresh = (engine.open(prompt="gold", seed=1) for _ in range(2))
    settled = ChunkParameters(
        prompts=CLAY,
        guidance_scale=0.5,
        controls=(("gray", 0.7),),
        references=(a_picture(9),),
        mask=left_kept(),
        steps=(1000, 250),
        camera_start=CameraStart(0.9, follows_motion=True),
        distance_region=DistanceRegion(0.5),
    )
    play(used, settled, ChunkParameters())
    frames = camera(12, 7)
    assert same(used.step(frames, ChunkParameters(reset=True)), fresh.step(frames[-9:], settled))


def test_a_seed_counts_for_a_reset_and_for_a_cut(engine: StreamEngine) -> None:
    frames, clay = camera(12, 7), {"prompts": CLAY, "transition": "cut"}
    wanted = engine.open(prompt="clay", seed=8).step(frames[-9:], ChunkParameters())
    for again in (clay, clay | {"reset": True}):
        stream = engine.open(prompt="gold", seed=1)
        play(stream, ChunkParameters())
        assert same(stream.step(frames, ChunkParameters(**again, seed=8)), wanted)


def test_outside_the_region_the_camera_is_shown_as_it_came(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=1)
    for chunk, controls in enumerate(
        (ChunkParameters(mask=left_kept()), ChunkParameters(), ChunkParameters(reset=True))
    ):
        frames = camera(stream.frames_wanted, chunk)
        shown = stream.step(frames, controls).frames
        kept, middle = SIZE[1] // 2 - 8, SIZE[1] // 2
        given = np.stack(frames[-len(shown) :])
        assert np.array_equal(shown[:, :, :kept], given[:, :, :kept])
        assert not np.array_equal(shown[:, :, middle:], given[:, :, middle:])


@pytest.mark.parametrize("enabled", [True, False])
def test_outside_a_distance_the_camera_is_shown_as_it_came(
    by_brightness: StreamEngine, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    """Depth is estimated for that even where it does not guide; a brush beside it keeps what it kept."""
    told: list[torch.Tensor] = []
    generate = by_brightness.pipeline.generate
    monkeypatch.setattr(
        by_brightness.pipeline,
        "generate",
        lambda *given, **how: told.append(how["vace_input_masks"]) or generate(*given, **how),
    )
    stream = by_brightness.open(prompt="gold", seed=1)
    asked = ChunkParameters(
        distance_region=DistanceRegion(0.5), depth=DepthSettings(enabled=enabled), mask=left_kept()
    )
    for number, each in enumerate((asked, ChunkParameters())):
        frames = [frame // 4 for frame in camera(stream.frames_wanted, number)]
        for index, frame in enumerate(frames):  # what is bright is near, and goes to the right
            frame[:, 24 + index : 44] = 255
        result = stream.step(frames, each)
        for index, (shown, given) in enumerate(zip(result.frames, frames, strict=True)):
            edge = 24 + index
            assert np.array_equal(shown[:, : edge - 4], given[:, : edge - 4])
            assert not np.array_equal(shown[:, edge + 2 : 42], given[:, edge + 2 : 42])
        assert (result.depth_preview is not None) == enabled
    assert told[1].shape == (1, 1, 12, *SIZE) and 0 < told[1][:, :, 0].sum() != told[1][:, :, 11].sum()


@pytest.mark.parametrize("masked", [False, True], ids=["everywhere", "beside a mask"])
@pytest.mark.parametrize("controls", [("depth",), ()], ids=["depth", "nothing else"])
def test_a_stream_and_a_cut_begin_with_a_given_picture(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, masked: bool, controls: tuple[str, ...]
) -> None:
    """VACE's first-frame extension: kept is frame 0 and it alone, beside what a mask keeps; what controls
    show of that frame is not followed. The next chunk knows of it by the stream's memory."""
    seen: list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]] = []
    encode = engine.pipeline.control.encode_videos

    def watched(videos, state, *, mask, source):
        seen.append((videos[0].picture, mask, source))
        return encode(videos, state, mask=mask, source=source)

    monkeypatch.setattr(engine.pipeline.control, "encode_videos", watched)
    stream, given = engine.open(prompt="gold", seed=1), a_picture(200)
    begin = ChunkParameters(
        first_picture=given,
        depth=DepthSettings(enabled=bool(controls)),
        mask=left_kept() if masked else None,
    )
    play(stream, begin, ChunkParameters(depth=DepthSettings()))
    frames = camera(12, 5)
    stream.step(frames, replace(begin, prompts=CLAY, transition="cut"))
    fitted = fit_frames([given], *SIZE, torch.device("cpu"))[0]
    where = torch.from_numpy(left_kept() == 255).float() if masked else torch.ones(SIZE)
    for picture, mask, source in (seen[0], seen[2]):
        assert mask is not None and source is not None and picture.any() == bool(controls)
        assert mask.shape == (1, 1, 9, *SIZE) and not mask[:, :, 0].any()
        assert (mask[0, 0, 1:] == where).all()
        assert torch.equal(source[0, :, 0], fitted)
    assert torch.equal(
        seen[2][2][0, :, 1:].movedim(0, 1), fit_frames(frames[-8:], *SIZE, torch.device("cpu"))
    )
    assert (seen[1][1] is not None) == masked, "no picture is kept any more"


def test_a_first_picture_shapes_the_chunk_and_what_follows(
    engine: StreamEngine, plain: list[ChunkResult]
) -> None:
    results = play(
        engine.open(prompt="gold", seed=1), ChunkParameters(first_picture=a_picture(200)), ChunkParameters()
    )
    assert not same(results[0], plain[0]) and not same(results[1], plain[1])


def test_a_stream_that_runs_cannot_be_given_a_first_picture(engine: StreamEngine) -> None:
    stream, twin = (engine.open(prompt="gold", seed=1) for _ in range(2))
    play(stream, ChunkParameters()), play(twin, ChunkParameters())
    with pytest.raises(ValueError, match=r"first_picture: expected with .* a reset or a cut, got chunk 1"):
        play(stream, ChunkParameters(first_picture=a_picture(3), prompts=CLAY))
    assert same(*(play(each, ChunkParameters(), salt=5)[0] for each in (stream, twin)))


def test_the_model_is_told_what_to_keep(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what to follow, where depth is off."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    encode = engine.pipeline.control.encode_videos

    def watched(videos: tuple[ControlVideo], state: object, *, mask: torch.Tensor, source: torch.Tensor):
        seen.append((videos[0].picture, source))
        return encode(videos, state, mask=mask, source=source)

    monkeypatch.setattr(engine.pipeline.control, "encode_videos", watched)
    stream, frames = engine.open(prompt="gold", seed=1), camera(9)
    stream.step(frames, ChunkParameters(mask=left_kept(), depth=DepthSettings(enabled=False)))
    depth, source = seen[0]
    assert not depth.any()
    pictures = ((source[0].movedim(0, -1) + 1) * 127.5).round().byte()
    assert np.array_equal(pictures.numpy(), np.stack(frames))


def test_references_guide_every_chunk_and_are_encoded_once(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, guided = [], []
    encode, guidance = engine.pipeline.control.encode_references, engine.pipeline._guidance
    monkeypatch.setattr(
        engine.pipeline.control, "encode_references", lambda given: encoded.append(given) or encode(given)
    )
    monkeypatch.setattr(
        engine.pipeline,
        "_guidance",
        lambda *given, **how: guided.append(how["with_references"]) or guidance(*given, **how),
    )
    stream = engine.open(prompt="gold", seed=1)
    play(
        stream,
        ChunkParameters(references=(a_picture(1), a_picture(2))),
        ChunkParameters(),
        ChunkParameters(reset=True),
    )
    play(stream, ChunkParameters(references=CLEAR))
    assert len(encoded) == 1 and guided == [True, True, True, False]


@pytest.mark.parametrize("size", [(3000, 4000), (1, 3000), (2, 2)])
def test_references_of_any_size_are_taken(engine: StreamEngine, size: tuple[int, int]) -> None:
    stream = engine.open(prompt="gold", seed=1)
    assert play(stream, ChunkParameters(references=(a_picture(1, size),)))[0].frames.shape == (9, *SIZE, 3)


def test_the_effective_scale_is_told_and_used(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []
    generate = engine.pipeline.generate
    monkeypatch.setattr(
        engine.pipeline,
        "generate",
        lambda *given, **how: used.append(how["vace_input"][0].scale) or generate(*given, **how),
    )
    stream = engine.open(prompt="gold", seed=1)
    told = [
        result.guidance_scale
        for result in play(
            stream,
            ChunkParameters(guidance_scale=0.8),
            ChunkParameters(adaptive=1.0),
            ChunkParameters(adaptive=0.0),
        )
    ]
    assert told == used and told[0] == told[2] == 0.8 != told[1]
    still = stream.step([camera(1)[0]] * 12, ChunkParameters(adaptive=1.0)).guidance_scale
    stiller = stream.step([camera(1)[0]] * 12, ChunkParameters()).guidance_scale
    assert 0.4 <= stiller < still


def test_without_depth_nothing_is_adapted_to(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=1)
    off = ChunkParameters(adaptive=1.0, guidance_scale=0.7, depth=DepthSettings(enabled=False))
    assert [result.guidance_scale for result in play(stream, off, ChunkParameters())] == [0.7, 0.7]
    assert stream._motion_gain == AdaptiveScale()


def failing(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    if part == "text":  # before the passes
        monkeypatch.setattr(engine.pipeline, "_text", lambda *_: 1 / 0)
    else:
        decode = engine.pipeline.decoder.decode
        monkeypatch.setattr(
            engine.pipeline.decoder, "decode", lambda z, m: (decode(z, m)[0] * float("nan"), None)
        )


@pytest.mark.parametrize("how", ["reset", "cut", "text", "decode"])
def test_how_lively_a_scene_was_is_forgotten_with_it_and_a_failure_says_nothing(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    used, other = (engine.open(prompt="gold", seed=1) for _ in range(2))
    lively = ChunkParameters(adaptive=1.0)
    play(used, lively, ChunkParameters())
    frames, again = camera(12, 7), ChunkParameters()
    if how in ("reset", "cut"):
        again = ChunkParameters(reset=True) if how == "reset" else ASKED["cut"]
        wanted = other.step(frames[-9:], lively)
    else:
        if how == "text":  # the stream is unharmed; else it was reset
            play(other, lively, ChunkParameters())
        with monkeypatch.context() as patch, pytest.raises((GenerationFailed, ZeroDivisionError)):
            failing(engine, patch, how)
            play(used, ChunkParameters(), salt=9)
        wanted = other.step(frames[-other.frames_wanted :], lively)
    told = used.step(frames[-used.frames_wanted :], again)
    assert told.guidance_scale == wanted.guidance_scale != 1.0


class Wandering:
    """A depth estimator that judges every chunk by a `measure` of its own."""

    measure = 1.0

    def estimate(self, frames: torch.Tensor) -> torch.Tensor:
        return self.measure * frames.mean(dim=1) ** 3

    def new_range(self) -> DepthRange:
        return DepthRange()


def test_depth_begins_anew_after_a_pause(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of before is aligned to, blended in or looked at, however still the camera stands."""
    estimator, given = Wandering(), list[torch.Tensor | None]()
    generate = engine.pipeline.generate
    monkeypatch.setattr(engine, "estimator", estimator)
    monkeypatch.setattr(
        engine.pipeline,
        "generate",
        lambda *args, **how: given.append(how["vace_input"]) or generate(*args, **how),
    )
    settings, still = DepthSettings(smoothing=0.8, refinement=1.0), camera(1)
    paused, watching = (engine.open(prompt="gold", seed=1) for _ in range(2))
    for stream, second in (
        (paused, ChunkParameters(depth=DepthSettings(enabled=False))),
        (watching, ChunkParameters()),
    ):
        estimator.measure = 1.0
        stream.step(still * 9, ChunkParameters(depth=settings))
        stream.step(still * 12, second)
        estimator.measure = 1.3
        stream.step(still * 12, ChunkParameters(depth=settings))
    fresh = StreamDepth(estimator, "cpu", *SIZE)
    expected = fresh(fit_frames(still * 12, *SIZE, torch.device("cpu")), settings).values
    assert torch.equal(given[2][0].picture[0, 0], expected) and given[1] is None
    assert not torch.equal(given[5][0].picture[0, 0], expected), "who goes on remembers"


def test_depth_off_estimates_nothing(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = engine.open(prompt="gold", seed=1)
    plain = play(engine.open(prompt="gold", seed=1), ChunkParameters(guidance_scale=0.0))[0]
    with monkeypatch.context() as patch:
        patch.setattr(stream._depth, "_estimator", None)
        off = play(stream, ChunkParameters(depth=DepthSettings(enabled=False)))[0]
    assert off.depth_preview is None and same(off, plain)
    assert play(stream, ChunkParameters(depth=DepthSettings()))[0].depth_preview is not None


def test_the_preview_is_the_last_frames_depth_as_the_model_got_it(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[ControlVideo, ...]] = []
    generate = engine.pipeline.generate
    monkeypatch.setattr(
        engine.pipeline,
        "generate",
        lambda *args, **how: given.append(how["vace_input"]) or generate(*args, **how),
    )
    shown = play(engine.open(prompt="gold", seed=1), ChunkParameters())[0].depth_preview
    assert shown is not None and shown.shape == (72, 128) and shown.dtype == np.uint8
    assert np.array_equal(shown, preview(given[0][0].picture[0, 0, -1]))


def test_the_strength_of_depth_is_the_guidance_scale(engine: StreamEngine) -> None:
    by_name, by_scale = (
        play(engine.open(prompt="gold", seed=1), asked)[0]
        for asked in (ChunkParameters(controls=(("depth", 0.3),)), ChunkParameters(guidance_scale=0.3))
    )
    assert same(by_name, by_scale) and by_name.guidance_scale == 0.3


def test_the_less_noise_the_nearer_to_the_camera_and_the_fewer_passes(
    trained: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, denoise = [0], trained.pipeline.passes.denoise

    def counted(*given: object) -> torch.Tensor:
        passes[0] += 1
        return denoise(*given)

    monkeypatch.setattr(trained.pipeline.passes, "denoise", counted)
    distances: list[float] = []
    steps = (1000, 750, 500, 250)  # sigma 1, 0.94, 0.83, 0.63
    for noise_scale, wanted in ((1.0, 4), (0.9, 3), (0.8, 2), (0.3, 1)):
        passes[0], stream, frames = 0, trained.open(prompt="gold", seed=1), camera(9)
        asked = ChunkParameters(steps=steps, camera_start=CameraStart(noise_scale))
        shown = stream.step(frames, asked)
        assert (passes[0], shown.noise_scale) == (wanted, noise_scale)
        distances.append(float(np.abs(shown.frames.astype(float) - np.stack(frames)).mean()))
    assert distances == sorted(distances, reverse=True), distances


def test_a_noise_scale_of_1_is_bit_for_bit_a_stream_that_never_heard_of_it(
    engine: StreamEngine, plain: list[ChunkResult]
) -> None:
    asked = [ChunkParameters(camera_start=CameraStart(1.0)), *[ChunkParameters()] * 2]
    stream = engine.open(prompt="gold", seed=1)
    for given, wanted in zip(play(stream, *asked), plain, strict=True):
        assert same(given, wanted) and given.noise_scale == 1.0
    assert stream._session.camera.cache is None


def test_a_start_from_the_camera_follows_its_motion_and_tells_how_far(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=1)
    asked = ChunkParameters(camera_start=CameraStart(0.8, follows_motion=True))
    lively = play(stream, asked)[0].noise_scale
    still = stream.step([camera(9)[-1]] * 12, ChunkParameters()).noise_scale
    assert lively == pytest.approx(0.9 * 0.6 + 0.1 * 0.8)  # noise moves as much as counts
    assert still == pytest.approx(0.9 * 0.8 + 0.1 * lively)


def allowing(engine: StreamEngine, *controls: str) -> StreamEngine:
    """The same networks, with streams that may use no other controls."""
    pipeline = copy(engine.pipeline)
    pipeline.preset = pipeline.preset.with_controls(controls)
    return StreamEngine(pipeline, engine.estimator, "edges")


def test_a_control_that_is_not_allowed_is_refused_and_the_stream_goes_on(engine: StreamEngine) -> None:
    """Switching it off is no matter."""
    stream = allowing(engine, "depth").open(prompt="gold", seed=1)
    never = engine.open(prompt="gold", seed=1)
    with pytest.raises(ValueError, match="controls: gray is not allowed here, allowed: depth"):
        play(stream, ChunkParameters(controls=(("depth", 0.5), ("gray", 0.1))))
    off = ChunkParameters(controls=(("gray", 0.0), ("lines", 0.0)))
    assert same(play(stream, off)[0], play(never, ChunkParameters())[0])
    with pytest.raises(ValueError, match="controls: depth is not allowed here, allowed: gray, lines"):
        play(allowing(engine, "lines", "gray").open(prompt="", seed=1), ChunkParameters(guidance_scale=0.5))


def test_a_stream_has_encoder_states_of_controls_that_are_allowed_alone(
    engine: StreamEngine, plain: list[ChunkResult]
) -> None:
    """Also of what stands for a control that is off beside a region, which guides as strongly as with
    depth."""
    gray = allowing(engine, "gray")
    assert gray.info.controls == () and gray.info.allowed_controls == ("gray",)
    stream = gray.open(prompt="gold", seed=1)
    results = play(stream, ChunkParameters(), ChunkParameters(mask=left_kept()))
    assert results[0].depth_preview is None and not same(results[0], plain[0])
    control = stream._session.control
    assert control is not None
    assert [state.cache is not None for state in control.reactive] == [False, True]
    without = engine.open(prompt="gold", seed=1)
    off = DepthSettings(enabled=False)
    wanted = play(without, ChunkParameters(depth=off), ChunkParameters(mask=left_kept()))
    assert all(same(*pair) for pair in zip(results, wanted, strict=True))


def test_controls_are_made_of_the_pictures_that_the_chunk_uses(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame by frame, and of the newest nine after a reset; those that are off are not made."""
    shown: list[tuple[ControlVideo | None, ...]] = []
    generate = engine.pipeline.generate
    monkeypatch.setattr(
        engine.pipeline,
        "generate",
        lambda *args, **how: shown.append(how["vace_input"]) or generate(*args, **how),
    )
    stream = engine.open(prompt="gold", seed=1)
    asked = ChunkParameters(controls=(("gray", 0.5), ("lines", 1.5)))
    play(stream, asked)
    frames = camera(12, 3)
    result = stream.step(frames, ChunkParameters(reset=True))
    fitted = fit_frames(frames[-9:], *SIZE, torch.device("cpu"))
    depth, gray, lines = shown[1]
    assert depth is not None and gray is not None and lines is not None
    assert torch.equal(gray.picture[0, 0], gray_of(fitted, engine.pipeline.preset.gray))
    assert torch.equal(lines.picture[0, 0], lines_of(fitted))
    assert (gray.scale, lines.scale) == (0.5, 1.5)
    for told, video in ((result.gray_preview, gray), (result.lines_preview, lines)):
        assert told is not None and np.array_equal(told, preview(video.picture[0, 0, -1]))
    off = play(stream, ChunkParameters(controls=(("gray", 0.0), ("lines", 0.0))))[0]
    assert off.gray_preview is off.lines_preview is None and shown[2][1:] == (None, None)


def test_a_stream_begins_with_the_controls_of_its_model(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = play(engine.open(prompt="gold", seed=1), ChunkParameters(controls=(("gray", 0.75),)))[0]
    info = replace(engine.info, controls=(("depth", 1.0), ("gray", 0.75)))
    monkeypatch.setattr(engine, "info", info)
    assert engine.info.controls != DEFAULT_CONTROLS
    assert same(play(engine.open(prompt="gold", seed=1), ChunkParameters())[0], plain)


def test_a_preview_is_bright_where_it_is_near() -> None:
    depth = torch.full((144, 256), -1.0)
    depth[:, 128:] = 1
    small = preview(depth)
    assert (small[:, :60] == 0).all() and (small[:, 68:] == 255).all()


def test_refinement_sees_what_was_shown_last(engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = engine.open(prompt="gold", seed=1)
    looked: list[torch.Tensor | None] = []
    ask = type(stream._depth).__call__

    def watched(self, frames, settings, generated=None, **how):
        looked.append(generated)
        return ask(self, frames, settings, generated, **how)

    monkeypatch.setattr(type(stream._depth), "__call__", watched)
    refined = DepthSettings(refinement=0.5)
    results = play(
        stream,
        ChunkParameters(depth=refined, mask=left_kept()),
        ChunkParameters(),
        ChunkParameters(reset=True),
    )
    assert looked[0] is None and looked[2] is None and looked[1] is not None
    pictures = ((looked[1].movedim(1, -1) + 1) * 127.5).round().byte().numpy()
    assert np.array_equal(pictures, results[0].frames[-len(pictures) :])


def test_pieces_are_the_chunk_and_come_before_it_is_finished(engine: StreamEngine) -> None:
    """With a region, whose camera pictures have to be those of the piece; over a reset, too."""
    stream, whole = engine.open(prompt="gold", seed=1), engine.open(prompt="gold", seed=1)
    asked = [ChunkParameters(mask=left_kept()), ChunkParameters(), ChunkParameters(reset=True)]
    frame = 0
    for number, (controls, lengths) in enumerate(zip(asked, ([1, 4, 4], [4, 4, 4], [1, 4, 4]), strict=True)):
        frames = camera(stream.frames_wanted, number)
        pieces: list[ChunkResult] = []
        result = stream.step(frames, controls, pieces.append)
        assert [len(piece.frames) for piece in pieces] == lengths
        assert [piece.first_frame for piece in pieces] == list(
            itertools.accumulate(lengths[:-1], initial=frame)
        )
        assert {(p.chunk, p.generation, p.frames_in_chunk) for p in pieces} == {
            (result.chunk, result.generation, sum(lengths))
        }
        assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), result.frames)
        assert same(result, whole.step(frames, controls))
        frame += sum(lengths)


def test_what_was_asked_for_has_happened_once_a_piece_is_given_away(
    engine: StreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the chunk dies: whoever saw its beginning was told so."""
    stream, fresh = engine.open(prompt="gold", seed=1), engine.open(prompt="clay", seed=1)
    play(stream, ChunkParameters())
    require, checked = engine.pipeline._require_finite, 0

    def fails_later(session: StreamSession, **results: torch.Tensor) -> None:
        nonlocal checked
        checked += "decode" in results
        if checked == 2:
            session.reset()
            raise GenerationFailed("decode gave values that are not finite")
        require(session, **results)

    pieces: list[ChunkResult] = []
    with monkeypatch.context() as broken, pytest.raises(GenerationFailed):
        broken.setattr(engine.pipeline, "_require_finite", fails_later)
        stream.step(camera(12), ChunkParameters(prompts=CLAY), pieces.append)
    assert len(pieces) == 1
    frames = camera(stream.frames_wanted, 5)
    result = stream.step(frames, ChunkParameters())
    assert same(result, fresh.step(frames, ChunkParameters()))
    assert (pieces[0].first_frame, result.first_frame) == (9, 13), "no frame has another's number"


def test_everything_at_once_runs_in_half_precision() -> None:
    """As on a GPU; outside the region the camera is still the camera's, grey level by grey level."""
    half = StreamEngine(narrow_pipeline(dtype=torch.bfloat16), EdgesDepth(torch.device("cpu")), "edges")
    stream = half.open(prompt="gold", seed=1)
    refined = ChunkParameters(adaptive=1.0, depth=DepthSettings(refinement=0.5, smoothing=0.5))
    blend = ChunkParameters(prompts=CLAY, transition="blend", references=(a_picture(9),), mask=left_kept())
    sparse = ChunkParameters(
        depth=DepthSettings(points=((0.5, 0.5, 1.0), (0.0, 0.0, 0.0))), steps=(1000, 250)
    )
    for result in play(stream, refined, blend, sparse, ASKED["depth off"]):
        assert result.frames.std() > 5
    kept = SIZE[1] // 2 - 8
    assert np.array_equal(result.frames[:, :, :kept], np.stack(camera(12, 3))[:, :, :kept])


@pytest.mark.parametrize("asked", [*ASKED.values(), ChunkParameters(reset=True)], ids=[*ASKED, "reset"])
def test_what_is_asked_late_is_as_if_it_had_been_asked_at_once(
    engine: StreamEngine, beside: Beside, asked: ChunkParameters
) -> None:
    late, wanted = engine.open(prompt="gold", seed=1), beside(asked)[0]
    for number, controls in enumerate((ChunkParameters(), asked, ChunkParameters())):
        given = late.step(camera(late.frames_wanted, number), lambda controls=controls: controls)
        assert same(given, wanted[number]) and given.guidance_scale == wanted[number].guidance_scale


def test_what_is_asked_late_and_refused_changes_nothing(engine: StreamEngine) -> None:
    stream, fresh = (engine.open(prompt="gold", seed=1) for _ in range(2))

    def broken() -> ChunkParameters:
        raise ValueError("scale: expected a number")

    with pytest.raises(ValueError, match="scale"):
        stream.step(camera(9), broken)
    assert same(play(stream, ChunkParameters())[0], play(fresh, ChunkParameters())[0])
