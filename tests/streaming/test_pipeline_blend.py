"""Prompts that turn into one another while the stream runs."""

import pytest
import torch

from streaming.blocks.text_conditioning import parse_prompts
from streaming.modules.causal_model import TextContext
from streaming.pipeline import LongLivePipeline, Sampling
from streaming.session import StreamSession
from tests.streaming.tiny_preset import narrow_pipeline

GOLD, CLAY, ICE = (parse_prompts(text) for text in ("gold", "clay", "ice"))


@pytest.fixture(scope="module")
def pipeline() -> LongLivePipeline:
    return narrow_pipeline()


def begun(pipeline: LongLivePipeline, chunks: int = 2) -> StreamSession:
    session = pipeline.open_session(seed=1)
    for _ in range(chunks):
        pipeline.generate(session, GOLD)
    return session


def test_a_blends_last_step_equals_the_target_bit_for_bit(pipeline: LongLivePipeline) -> None:
    """What the target would give by recache at that chunk, and every chunk from there on."""
    blended, switched = begun(pipeline), begun(pipeline)
    for _ in range(2):
        for session in (blended, switched):
            pipeline.generate(session, CLAY, transition="blend", blend_chunks=3)
    pairs = [(pipeline.generate(blended, CLAY), pipeline.generate(switched, CLAY, transition="recache"))]
    assert blended.blend is None and switched.blend is None
    pairs += [(pipeline.generate(blended, CLAY), pipeline.generate(switched, CLAY)) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_blend_over_one_chunk_is_a_recache(pipeline: LongLivePipeline) -> None:
    one, other = begun(pipeline), begun(pipeline)
    blended = pipeline.generate(one, CLAY, transition="blend", blend_chunks=1)
    assert torch.equal(blended, pipeline.generate(other, CLAY))


@pytest.mark.parametrize("curve", ["linear", "slerp"])
def test_every_chunk_of_a_blend_is_another_step_and_none_resets(
    pipeline: LongLivePipeline, curve: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, places = begun(pipeline), []
    context_of = pipeline.text.context_of
    monkeypatch.setattr(pipeline.text, "context_of", lambda place: places.append(place) or context_of(place))
    pipeline.text(CLAY)
    places.clear()
    for chunk in range(4):
        video = pipeline.generate(session, CLAY, transition="blend", blend_chunks=4, blend_curve=curve)
        assert video.shape[0] == 12 and (session.generation, session.chunk) == (0, chunk + 3)
        assert (session.blend is None) == (chunk == 3)
    gold, clay = pipeline.text.embedding(GOLD), pipeline.text.embedding(CLAY)
    left = [((place - clay).norm() / (gold - clay).norm()).item() for place in places]
    assert len(left) == 3 and 1 > left[0] > left[1] > left[2] > 0


def test_the_window_is_recomputed_where_a_blend_arrives_and_not_on_the_way(
    pipeline: LongLivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    recached: list[TextContext] = []
    monkeypatch.setattr(
        "streaming.pipeline.recache", lambda _model, _recent, text, _cache: recached.append(text)
    )
    session, counts = begun(pipeline), []
    for _ in range(5):
        pipeline.generate(session, CLAY, transition="blend", blend_chunks=3)
        counts.append(len(recached))
    assert counts == [0, 0, 1, 1, 1] and recached[0] is pipeline.text(CLAY)


def test_a_new_prompt_starts_from_where_the_blend_is(pipeline: LongLivePipeline) -> None:
    session = begun(pipeline)
    pipeline.generate(session, CLAY, transition="blend", blend_chunks=2)
    assert session.blend is not None
    here = session.blend.towards(pipeline.text.embedding(CLAY))
    pipeline.generate(session, ICE, transition="blend", blend_chunks=4)
    assert session.blend is not None and session.prompts == ICE
    assert torch.equal(session.blend.start, here) and session.blend.fraction == 0.25


def test_a_blend_goes_on_until_something_else_is_asked(pipeline: LongLivePipeline) -> None:
    for options, goes_on in (
        ({}, True),
        ({"transition": "blend", "blend_chunks": 9}, True),
        ({"transition": "recache"}, False),
        ({"transition": "cut"}, False),
    ):
        session = begun(pipeline)
        pipeline.generate(session, CLAY, transition="blend", blend_chunks=3)
        pipeline.generate(session, CLAY, **options)
        assert (session.blend is not None) == goes_on
        assert session.blend is None or (session.blend.done, session.blend.chunks) == (2, 3)


def test_a_reset_during_a_blend_equals_a_fresh_stream_of_the_target(pipeline: LongLivePipeline) -> None:
    session, fresh = begun(pipeline), pipeline.open_session(seed=1)
    pipeline.generate(session, CLAY, transition="blend")
    again = pipeline.generate(session, CLAY, transition="cut")
    assert torch.equal(again, pipeline.generate(fresh, CLAY, transition="blend"))
    assert session.blend is None and fresh.blend is None
    assert torch.equal(pipeline.generate(session, CLAY), pipeline.generate(fresh, CLAY))


def test_a_blend_of_one_session_does_not_touch_another(pipeline: LongLivePipeline) -> None:
    alone, blended, beside = begun(pipeline), begun(pipeline), begun(pipeline)
    for _ in range(3):
        wanted = pipeline.generate(alone, GOLD)
        pipeline.generate(blended, CLAY, transition="blend", blend_chunks=2)
        assert torch.equal(pipeline.generate(beside, GOLD), wanted)


def test_bad_input_leaves_a_blend_where_it_is(pipeline: LongLivePipeline) -> None:
    session = begun(pipeline)
    pipeline.generate(session, CLAY, transition="blend", blend_chunks=4)
    before = session.blend
    with pytest.raises(ValueError, match="needs vace_input"):
        pipeline.generate(session, ICE, transition="blend", guidance_mode="depth")
    assert session.blend is before and session.prompts == CLAY


def test_steps_of_one_chunk_are_its_own(pipeline: LongLivePipeline) -> None:
    outputs = {
        steps: pipeline.generate(pipeline.open_session(seed=1), GOLD, sampling=Sampling(steps=steps))
        for steps in (None, (1000, 500), (1000, 750, 500, 250))
    }
    assert torch.equal(outputs[None], outputs[1000, 500])
    assert not torch.equal(outputs[None], outputs[1000, 750, 500, 250])
    assert torch.equal(outputs[None], pipeline.generate(pipeline.open_session(seed=1), GOLD))
