"""A stream goes on in another process: what it remembers, as bytes, and what that makes of another stream."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.api import ChunkParameters, ChunkResult, DistanceRegion
from streaming.depth.estimators import EdgesDepth
from streaming.engine import LiveStream, StreamEngine
from streaming.pipeline import LongLivePipeline
from streaming.snapshot import STATE, VALUES, SnapshotRejected, StreamSnapshot
from tests.streaming.test_stream import ASKED, CLAY, SIZE, Brightness, left_kept, play, same
from tests.streaming.tiny_preset import narrow_pipeline

CPU = torch.device("cpu")
LONG, SHORT = 5, 2  # chunks: the window holds three
NOTHING = ChunkParameters()


@pytest.fixture(scope="module")
def engine() -> StreamEngine:
    """Narrow networks, behind an estimator whose range moves with the scene."""
    return StreamEngine(narrow_pipeline(), Brightness(), "brightness")


@pytest.fixture(scope="module")
def trained() -> StreamEngine:
    """The built-in model, small."""
    pipeline = LongLivePipeline({"height": SIZE[0], "width": SIZE[1]}, CPU, torch.float32)
    return StreamEngine(pipeline, EdgesDepth(CPU), "edges")


def moved(engine: StreamEngine, stream: LiveStream) -> LiveStream:
    return engine.restore(stream.snapshot().parts())


def moving(count: int, first: int) -> list[np.ndarray]:
    """A bright disc that swings over a slope, from picture number `first` on."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    frames = []
    for number in range(first, first + count):
        middle = SIZE[1] / 2 + 12 * math.sin(number / 9)
        disc = ((x - middle) ** 2 + (y - SIZE[0] / 2) ** 2) < 64
        frames.append(np.where(disc[..., None], 230, np.stack([2 * x, 3 * y, x + y], -1)).astype(np.uint8))
    return frames


def play_on(
    stream: LiveStream, chunks: int, first: int, asked: ChunkParameters = NOTHING
) -> list[ChunkResult]:
    """As `play`, of pictures that move, from number `first` on."""
    results = []
    for _ in range(chunks):
        count = stream.frames_wanted
        results.append(stream.step(moving(count, first), asked))
        stream.flush()
        first += count
    return results


def test_a_snapshot_of_a_fresh_stream_restores_a_fresh_one(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=7)
    other = moved(engine, stream)
    for a, b in zip(
        play(stream, *[ChunkParameters()] * 3), play(other, *[ChunkParameters()] * 3), strict=True
    ):
        assert same(a, b) and (a.chunk, a.first_frame) == (b.chunk, b.first_frame)


NEAR = {  # what is asked, of which chunk, how many chunks before the move; least PSNR and most distance after
    # Seen: 95 dB and 1e-6, while the window holds all of the stream.
    "short": (NOTHING, 0, SHORT, 80.0, 1e-4),
    # 43 dB and 0.032: what the window's latents themselves had seen is gone.
    "long": (NOTHING, 0, LONG, 40.0, 0.05),
    # 40 dB and 0.057: the sink keeps the old prompt.
    "switched": (ChunkParameters(prompts=CLAY), 4, 7, 38.0, 0.07),
    # 23 dB and 0.26: of the steps of a blend the window is computed again under the newest alone.
    "blending": (ChunkParameters(prompts=CLAY, transition="blend", blend_chunks=4), 5, 7, 21.0, 0.3),
}


@pytest.mark.parametrize(("asked", "at", "chunks", "least", "most"), NEAR.values(), ids=NEAR.keys())
def test_a_restored_stream_goes_on_near_the_one_that_was_never_moved(
    trained: StreamEngine, asked: ChunkParameters, at: int, chunks: int, least: float, most: float
) -> None:
    stream, first = trained.open(prompt="a statue of molten gold", seed=1), 0
    for chunk in range(chunks):
        play_on(stream, 1, first, asked if chunk == at else NOTHING)
        first += 12 if chunk else 9
    other, begun = moved(trained, stream), trained.open(prompt=stream._parameters.prompts, seed=1)
    for number in range(3):
        here, there, anew = (play_on(each, 1, first)[0] for each in (stream, other, begun))
        first += 12
        assert (here.chunk, here.first_frame, here.generation) == (
            there.chunk,
            there.first_frame,
            there.generation,
        )
        near, far = psnr(here.frames, there.frames), psnr(here.frames[-9:], anew.frames[-9:])
        distance = latent_distance(stream, other)
        print(f"chunk {number} after {chunks}: {near:.1f} dB, latents {distance:.4f}; anew {far:.1f} dB")
        assert near > least and distance < most
        assert near > far + 10, "a stream that began anew would not be told from one that went on"


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.square((one.astype(np.float64) - other) / 255).mean()
    return -10 * math.log10(max(error, 1e-10))


def latent_distance(one: LiveStream, other: LiveStream) -> float:
    """Of the newest chunk, relative."""
    a, b = (each.snapshot().recent[-1].latents for each in (one, other))
    return float((a - b).norm() / a.norm())


@pytest.mark.parametrize("chunks", [SHORT, LONG])
def test_restored_equals_restored_and_leaves_other_streams_alone(engine: StreamEngine, chunks: int) -> None:
    stream, beside, alone = (engine.open(prompt=prompt, seed=2) for prompt in ("gold", "clay", "clay"))
    for each in (stream, beside, alone):
        play(each, *[ChunkParameters()] * chunks)
    snapshot = stream.snapshot()
    one, other = (engine.restore(snapshot.parts()) for _ in range(2))
    for n in range(2):
        a, b = (play(each, ChunkParameters(), salt=n)[0] for each in (one, other))
        assert same(a, b)
        assert same(*(play(each, ChunkParameters(), salt=n)[0] for each in (beside, alone)))


def test_a_snapshot_is_independent_of_the_stream_that_it_came_from(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=2)
    play(stream, *[ChunkParameters()] * LONG)
    snapshot = stream.snapshot()
    before = snapshot.parts()
    play(stream, ChunkParameters(), ChunkParameters(reset=True))
    assert snapshot.parts() == before
    snapshot = stream.snapshot()
    before, session = snapshot.parts(), stream._session
    with torch.inference_mode():
        for tensor in (session.recent, session.sink):
            assert tensor is not None
            tensor.fill_(9)
    assert snapshot.parts() == before
    assert StreamSnapshot.of_parts(before).parts() == before


def test_a_clean_pass_that_was_put_off_changes_nothing_of_a_snapshot(engine: StreamEngine) -> None:
    stream = engine.open(prompt="gold", seed=2)
    play(stream, *[ChunkParameters()] * LONG)
    before = stream.snapshot().parts()
    stream.flush()
    assert stream.snapshot().parts() == before


def test_a_chunk_adds_its_own_latents_and_what_has_a_name_never_changes(engine: StreamEngine) -> None:
    stream, known = engine.open(prompt="gold", seed=2), dict[str, bytes]()
    snapshot = None
    for number in range(6):
        asked = ASKED["references"] if number == 1 else ChunkParameters(reset=number == 4)
        play(stream, asked)
        had = {latents.name: latents for latents in snapshot.recent} if snapshot else {}
        snapshot = stream.snapshot(snapshot)
        assert all(had.get(latents.name, latents) is latents for latents in snapshot.recent)
        given = snapshot.parts(without=known)
        new = given.keys() - {VALUES, STATE} - known.keys()
        assert sum(name.startswith("latents/") for name in new) == 1
        whole = snapshot.parts()
        assert (
            whole.keys()
            == set(snapshot.names())
            == {VALUES, STATE} | {name for name in known | given if name in whole}
        )
        assert all(whole[name] == part for name, part in known.items() if name in whole)
        known |= {name: part for name, part in given.items() if name not in (VALUES, STATE)}


RESTORED = {name: asked for name, asked in ASKED.items() if name != "first picture"}


@pytest.mark.parametrize("asked", RESTORED.values(), ids=RESTORED.keys())
def test_all_that_was_asked_stays_in_effect(engine: StreamEngine, asked: ChunkParameters) -> None:
    if any(name not in engine.info.allowed_controls for name, _ in asked.controls or ()):
        pytest.skip("the model has no such control")
    stream = engine.open(prompt="gold", seed=2)
    play(stream, ChunkParameters(), asked)
    other = moved(engine, stream)
    a, b = stream._parameters, other._parameters
    plain = {"references": None, "mask": None}
    assert replace(a, **plain) == replace(b, **plain)
    assert (a.references is None) == (b.references is None) and (a.mask is None) == (b.mask is None)
    if a.references is not None and b.references is not None:
        assert torch.equal(a.references, b.references)
    if a.mask is not None and b.mask is not None:
        assert torch.equal(a.mask.paint, b.mask.paint) and torch.equal(a.mask.share, b.mask.share)
    blends = stream._session.blend, other._session.blend
    if blends[0] is not None and blends[1] is not None:
        assert torch.equal(blends[0].start, blends[1].start)
    assert (blends[0] and blends[0].done) == (blends[1] and blends[1].done)
    assert stream._session.prompts == other._session.prompts
    assert stream._motion_gain == other._motion_gain and stream._noise.scale == other._noise.scale
    assert stream._had_depth == other._had_depth
    known = stream._depth.state.range, other._depth.state.range
    assert known[0] == known[1] or math.isnan(known[0].far)
    play(other, ChunkParameters(), ChunkParameters())


class Parts(dict[str, bytes]):
    """With a name short enough for an example that fails."""

    def __repr__(self) -> str:
        return "the parts"


@pytest.fixture(scope="module")
def parts(engine: StreamEngine) -> Mapping[str, bytes]:
    """Of a stream of which everything has been asked."""
    stream = engine.open(prompt="gold", seed=2)
    everything = replace(
        ASKED["blend"], blend_chunks=32, mask=left_kept(), distance_region=DistanceRegion(0.2), steps=(900,)
    )
    asked = [everything, ASKED["references"], *[ChunkParameters()] * 3]
    play(stream, ChunkParameters(), *asked)
    return Parts(stream.snapshot().parts())


def changed(parts: Mapping[str, bytes], **values: object) -> dict[str, bytes]:
    return {**parts, VALUES: json.dumps(json.loads(parts[VALUES]) | values).encode()}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 2}, "version: got 2, expected 1"),
        ({"model": "longlive-1.3b"}, "model: expected embedded, got longlive-1.3b"),
        ({"chunk": 4}, "recent: expected chunks"),
        ({"chunk": -1}, "chunk: expected 0"),
        ({"frame": "many"}, "frame: expected int, got many"),
        ({"window_prompts": None}, "window_prompts: expected some"),
        ({"prompts": []}, "at least one prompt"),
        ({"strengths": {"pose": 1.0}}, "must be one of depth, gray, lines, got 'pose'"),
        ({"adaptive": "much"}, "adaptive: expected a finite number, got much"),
        ({"depth": {}}, "points"),
        ({"digests": {"mask": "abc"}}, "part mask/abc: expected, got none"),
        ({"has_sink": False}, "sink: expected"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    engine: StreamEngine, parts: Mapping[str, bytes], values: dict[str, object], words: str
) -> None:
    free = len(engine.pipeline._caches)
    with pytest.raises(SnapshotRejected) as refused:
        engine.restore(changed(parts, **values))
    assert words in str(refused.value)
    assert len(engine.pipeline._caches) == free


def test_a_part_that_lacks_or_is_damaged_or_of_another_size_is_refused_by_name(
    engine: StreamEngine, trained: StreamEngine, parts: Mapping[str, bytes]
) -> None:
    for name in parts:
        with pytest.raises(SnapshotRejected, match=f"part {name}: expected, got none"):
            engine.restore({other: part for other, part in parts.items() if other != name})
        with pytest.raises(SnapshotRejected):
            engine.restore({**parts, name: parts[name][:-5]})
    smaller = StreamSnapshot.of_parts(parts)
    latents = tuple(replace(chunk, latents=chunk.latents[..., :-1]) for chunk in smaller.recent)
    with pytest.raises(SnapshotRejected, match="latents/0-3: expected"):
        engine.restore(replace(smaller, recent=latents).parts())
    with pytest.raises(SnapshotRejected, match="noise: expected a state of"):
        engine.restore(replace(smaller, noise=smaller.noise[:16]).parts())
    nowhere = tuple(replace(chunk, latents=chunk.latents * math.nan) for chunk in smaller.recent)
    with pytest.raises(SnapshotRejected, match="latents/0-3: expected finite values"):
        engine.restore(replace(smaller, recent=nowhere).parts())


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
)


@settings(max_examples=150)
@given(field=st.integers(0, 99), within=st.integers(0, 99), value=ANY)
def test_any_value_is_taken_or_refused_in_words(
    parts: Mapping[str, bytes], field: int, within: int, value: object
) -> None:
    values = json.loads(parts[VALUES])
    name = sorted(values)[field % len(values)]
    inner = values[name]
    if isinstance(inner, dict) and within % 2:
        value = inner | {sorted(inner)[within % len(inner)]: value}
    try:
        StreamSnapshot.of_parts(changed(parts, **{name: value}))
    except SnapshotRejected:
        pass


@settings(max_examples=100)
@given(data=st.data())
def test_any_bytes_are_taken_or_refused_in_words(parts: Mapping[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(parts)))
    part = bytearray(parts[name])
    at = data.draw(st.integers(0, min(len(part), 400) - 1))
    part[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        StreamSnapshot.of_parts({**parts, name: bytes(part)})
    except SnapshotRejected:
        pass
