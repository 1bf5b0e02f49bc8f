"""A stream after weeks: positions, counters and pictures as at its beginning."""

from dataclasses import replace

import pytest
import torch

from streaming.blocks.text_conditioning import parse_prompts
from streaming.config import CHUNK_LATENTS
from streaming.modules.rope import rotate, rotation
from streaming.pipeline import LongLivePipeline
from streaming.session import StreamSession
from tests.streaming.tiny_preset import NARROW, narrow_pipeline

FAR = 10_000_000  # latents: 25 days at 4.5 a second


@pytest.fixture(scope="module", params=[True, False], ids=["relative", "absolute"])
def pipeline(request: pytest.FixtureRequest) -> LongLivePipeline:
    window = replace(NARROW.window, relative=request.param)
    return narrow_pipeline(replace(NARROW, window=window))


def chunk(pipeline: LongLivePipeline, session: StreamSession, prompt: str) -> torch.Tensor:
    count = 12 if session.chunk else 9
    ramp = torch.linspace(-1, 1, 48).expand(1, 1, count, 32, 48)
    frames = pipeline.generate(session, parse_prompts(prompt), guidance_mode="depth", vace_input=ramp)
    pipeline.flush(session)
    return frames


def move(session: StreamSession, latents: int) -> None:
    """The stream as if it had begun so many latents earlier: counters, and positions of keys."""
    cache = session.cache
    by = rotation(range(latents, latents + 1), 1, 1, cache.k.shape[-1], cache.k.device)
    for ring in cache.k:
        ring.copy_(rotate(ring, by))
    if cache.sink_k is not None and cache._sink_written is not None:
        for sink in cache.sink_k:
            sink.copy_(rotate(sink, by))
        cache._sink_written += latents
    cache._sink_base += latents
    cache.end += latents
    session.chunk += latents // CHUNK_LATENTS
    session.frame += 4 * latents


def test_law_a_stream_at_latent_ten_million_is_the_one_at_its_beginning(pipeline: LongLivePipeline) -> None:
    """Chunk by chunk, and under a new prompt, for which the window is computed again at its positions."""
    near, far = (pipeline.open_session(seed=3) for _ in range(2))
    window = near.cache.window
    for _ in range(window.local_attn_size // CHUNK_LATENTS + 2):
        assert torch.equal(chunk(pipeline, near, "gold"), chunk(pipeline, far, "gold"))
    step = window.ring_size * CHUNK_LATENTS  # the same slots of the ring
    moved = -(-FAR // step) * step
    move(far, moved)
    size, apart = far.cache.num_bytes, []
    for prompt in ("gold", "gold", "clay", "clay", "gold"):
        one, other = chunk(pipeline, near, prompt), chunk(pipeline, far, prompt)
        apart.append((one - other).abs().max().item())
    assert max(apart) < 1e-5, "of 1, which is white"
    assert far.latent - near.latent == moved and far.latent > FAR
    assert far.frame - near.frame == 4 * moved
    assert far.cache.num_bytes == size
