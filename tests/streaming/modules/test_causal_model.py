"""Laws of the transformer; its numbers are checked in tests/parity."""

import json
from pathlib import Path

import pytest
import torch

from streaming.config import ConfigError, WanConfig, WindowConfig
from streaming.modules.causal_model import CausalWanModel
from streaming.modules.causal_vace_model import CausalVaceWanModel

KEYS = Path(__file__).parents[2] / "parity" / "keys"
SIZES = {
    "dim": 24,
    "ffn_dim": 40,
    "num_heads": 2,
    "num_layers": 2,
    "freq_dim": 16,
    "text_dim": 10,
    "text_len": 5,
    "in_dim": 4,
    "out_dim": 4,
}


@pytest.fixture
def model() -> CausalWanModel:
    torch.manual_seed(0)
    return CausalWanModel(WanConfig(**SIZES)).eval().requires_grad_(False)


def stream(model: CausalWanModel, latents: torch.Tensor, window: WindowConfig) -> list[torch.Tensor]:
    context = model.encode_text(torch.ones(1, 3, 10))
    cache = model.new_cache(window, *latents.shape[-2:])
    return [
        model(latents[:, start : start + 3], torch.full((1, 3), 500.0), context, cache, start)
        for start in range(0, latents.shape[1], 3)
    ]


@pytest.mark.parametrize("relative", [False, True])
def test_causal(model: CausalWanModel, relative: bool) -> None:
    """What comes later never changes what came before."""
    window, latents = WindowConfig(local_attn_size=6, relative=relative), torch.randn(1, 18, 4, 4, 6)
    other = torch.cat([latents[:, :12], torch.randn(1, 6, 4, 4, 6)], dim=1)
    for early, same in zip(stream(model, latents, window)[:4], stream(model, other, window)[:4], strict=True):
        assert torch.equal(early, same)
    assert not torch.equal(stream(model, latents, window)[4], stream(model, other, window)[4])


def test_a_window_that_holds_everything_makes_both_position_variants_equal(model: CausalWanModel) -> None:
    latents = torch.randn(1, 12, 4, 4, 6)
    for a, b in zip(
        stream(model, latents, WindowConfig(local_attn_size=12, relative=False)),
        stream(model, latents, WindowConfig(local_attn_size=12, relative=True)),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_the_first_chunk_needs_no_memory(model: CausalWanModel) -> None:
    """With nothing before it, attention through the cache is attention over the chunk alone."""
    latents, context = torch.randn(1, 3, 4, 4, 6), model.encode_text(torch.ones(1, 3, 10))
    alone = model(latents, torch.full((1, 3), 500.0), context)
    torch.testing.assert_close(stream(model, latents, WindowConfig())[0], alone)


def test_sessions_share_weights_and_nothing_else(model: CausalWanModel) -> None:
    """Two streams run in turns give what each gives alone."""
    context, window = model.encode_text(torch.ones(1, 3, 10)), WindowConfig(local_attn_size=6)
    inputs = torch.randn(2, 1, 15, 4, 4, 6)
    caches = [model.new_cache(window, 4, 6) for _ in inputs]
    for start in range(0, 15, 3):
        for number, (latents, cache) in enumerate(zip(inputs, caches, strict=True)):
            got = model(latents[:, start : start + 3], torch.full((1, 3), 500.0), context, cache, start)
            assert torch.equal(got, stream(model, inputs[number], window)[start // 3])


def test_every_latent_has_its_own_timestep(model: CausalWanModel) -> None:
    x, context = torch.randn(1, 3, 4, 4, 6), model.encode_text(torch.ones(1, 3, 10))
    mixed = model.embed_time(torch.tensor([[0.0, 500.0, 1000.0]]))[1]
    alone = model.embed_time(torch.tensor([[500.0]]))[1]
    torch.testing.assert_close(mixed[:, 1], alone[:, 0])
    assert not torch.equal(
        model(x, torch.tensor([[0.0, 500.0, 1000.0]]), context), model(x, torch.full((1, 3), 500.0), context)
    )


def test_bad_sizes_are_named(model: CausalWanModel) -> None:
    with pytest.raises(ValueError, match=r"multiple of \(2, 2\), got \(5, 6\)"):
        model.new_cache(WindowConfig(), 5, 6)
    with pytest.raises(ValueError, match="6 rows, at most 5"):
        model.encode_text(torch.ones(1, 6, 10))
    with pytest.raises(ConfigError, match="dim 24 must be a multiple of num_heads 5"):
        WanConfig(**SIZES | {"num_heads": 5})
    with pytest.raises(ConfigError, match=r"vace_layers .* got \(0, 2\)"):
        WanConfig(**SIZES, vace_layers=(0, 2))
    with pytest.raises(ConfigError, match="at least one layer"):
        CausalVaceWanModel(WanConfig(**SIZES))


@pytest.mark.parametrize("name", ["wan2.1_t2v_1.3b_causal", "wan2.1_vace_1.3b"])
def test_published_files_fit_by_name_and_shape(name: str) -> None:
    published = json.loads((KEYS / f"{name}.json").read_text())
    config = WanConfig.from_published(published["config"])
    with torch.device("meta"):
        built = (CausalVaceWanModel if config.vace_layers else CausalWanModel)(config)
    assert {key: list(value.shape) for key, value in built.state_dict().items()} == published["keys"]
    assert sum(p.numel() for p in built.parameters()) == published["n_params"]
