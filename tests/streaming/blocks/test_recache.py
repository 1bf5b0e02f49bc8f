"""A prompt switch by recache; its numbers are checked in tests/parity (pipeline_switch_*)."""

import pytest
import torch

from streaming.blocks.recache import recache, write_clean_kv
from streaming.config import WanConfig, WindowConfig
from streaming.modules.causal_model import CausalWanModel
from tests.streaming.stream_order import stream_order

WINDOW = WindowConfig(local_attn_size=9)


@pytest.fixture
def model() -> CausalWanModel:
    torch.manual_seed(0)
    config = WanConfig(
        dim=24,
        ffn_dim=40,
        num_heads=2,
        num_layers=2,
        freq_dim=16,
        text_dim=10,
        text_len=5,
        in_dim=4,
        out_dim=4,
    )
    return CausalWanModel(config).eval().requires_grad_(False)


def test_the_window_is_as_if_it_had_one_prompt_and_the_sink_keeps_the_old_one(model: CausalWanModel) -> None:
    old, new = (model.encode_text(torch.randn(1, 3, 10)) for _ in range(2))
    cache, latents = model.new_cache(WINDOW, 4, 6), torch.randn(1, 15, 4, 4, 6)
    for start in range(0, 15, 3):
        write_clean_kv(model, latents[:, start : start + 3], old, cache, start)
    before, tokens = stream_order(cache, 1)[1].clone(), cache.tokens_per_latent
    recache(model, latents[:, -9:], new, cache)
    after = stream_order(cache, 1)[1]
    assert torch.equal(after[:, : 3 * tokens], before[:, : 3 * tokens])
    assert not torch.isclose(after[:, 3 * tokens :], before[:, 3 * tokens :]).all(-1).all(-1).any()
    assert cache.end == 15


def test_recaching_before_the_first_chunk_does_nothing(model: CausalWanModel) -> None:
    cache = model.new_cache(WINDOW, 4, 6)
    recache(model, torch.empty(1, 0, 4, 4, 6), model.encode_text(torch.ones(1, 2, 10)), cache)
    assert cache.end == 0


def test_the_wrong_number_of_latents_is_refused(model: CausalWanModel) -> None:
    cache, context = model.new_cache(WINDOW, 4, 6), model.encode_text(torch.ones(1, 2, 10))
    write_clean_kv(model, torch.randn(1, 3, 4, 4, 6), context, cache, 0)
    with pytest.raises(ValueError, match="needs the 3 latents of the window, got 9"):
        recache(model, torch.randn(1, 9, 4, 4, 6), context, cache)
