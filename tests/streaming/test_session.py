"""Laws of a stream's memory: reset equals fresh, what fails leaves a fresh stream, nothing grows."""

import pytest
import torch

from streaming.blocks.control_encoders import ControlEncoderState
from streaming.blocks.prompt_blend import PromptBlend
from streaming.blocks.text_conditioning import parse_prompts
from streaming.blocks.vace_encoding import ControlState
from streaming.chunk_passes import ChunkInputs, PendingCleanPass
from streaming.modules.causal_model import TextContext
from streaming.session import StreamSession
from tests.streaming.test_kv_cache_pool import new_cache


def used() -> StreamSession:
    """A session with something in all of its fields."""
    session = StreamSession(new_cache(), seed=3)
    session.cache.begin(0, 3)
    torch.rand(1, generator=session.noise)
    session.prompts = parse_prompts("gold")
    session.blend = PromptBlend(torch.zeros(1, 1, 1), 4, "linear")
    session.control, session.decoder, session.references = ControlState(chunk=1), object(), torch.ones(1)
    session.camera = ControlEncoderState(cache=object())
    session.advance(latents := torch.ones(1, 3, 1, 1, 1), 9)
    chunk = ChunkInputs(session.cache.begin(0, 3), TextContext(blocks=()))
    session.pending = PendingCleanPass(chunk, latents)
    return session


@pytest.mark.parametrize(("seed", "expected"), [(None, 3), (0, 0), (7, 7)])
def test_reset_equals_fresh_but_for_the_counters_that_never_go_back(seed: int | None, expected: int) -> None:
    session, fresh = used(), StreamSession(new_cache(), seed=expected)
    session.reset(seed)
    counters, states = (
        ("chunk", "latent", "seed"),
        ("control", "camera", "decoder", "references", "recent", "sink", "sink_prompts"),
    )
    for name in (*counters, *states, "blend", "pending"):
        assert getattr(session, name) == getattr(fresh, name), name
    assert session.cache.end == 0
    assert torch.rand(1, generator=session.noise) == torch.rand(1, generator=fresh.noise)
    assert (session.frame, session.generation) == (9, 1)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_what_fails_leaves_a_fresh_stream_and_what_does_not_leaves_it_alone(failure: type) -> None:
    session = used()
    with session.or_reset():
        pass
    assert (session.chunk, session.generation) == (1, 0)
    with pytest.raises(failure), session.or_reset():
        raise failure
    assert (session.chunk, session.generation) == (0, 1)


def test_the_newest_latents_are_kept_as_far_as_the_window_goes() -> None:
    session = StreamSession(new_cache(), seed=0)
    for chunk in range(5):
        assert session.latent == 3 * chunk
        session.advance(torch.full((1, 3, 1, 1, 1), float(chunk)), 12 if chunk else 9)
        kept = torch.arange(chunk + 1.0).repeat_interleave(3)[-6:]
        assert session.recent is not None and torch.equal(session.recent.flatten(), kept)
        assert session.sink is not None and torch.equal(session.sink.flatten(), torch.zeros(3))
    assert (session.chunk, session.frame, session.generation) == (5, 9 + 4 * 12, 0)


def test_a_recache_changes_the_prompt_of_the_sink_while_the_window_has_it() -> None:
    session, gold, clay, glass = StreamSession(new_cache(), seed=0), *map(parse_prompts, ("a", "b", "c"))
    session.prompts = gold
    session.advance(torch.zeros(1, 3, 1, 1, 1), 9)
    assert session.sink_prompts == gold
    session.prompts = clay
    session.recached()
    assert session.sink_prompts == clay
    for _ in range(2):
        session.advance(torch.zeros(1, 3, 1, 1, 1), 12)
    session.prompts = glass
    session.recached()
    assert session.sink_prompts == clay, "it has been left behind"
