"""Laws of what is compiled: it equals the eager parts, in one piece each, once for all layers."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from streaming.compilation import compile_autoencoder, compile_transformer, keep_compiled
from streaming.config import WanConfig, WindowConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.wan_vae import WanVAE, WanVaeConfig

# Inductor's own, when it is imported and when it starts its compilers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

SIX_LAYERS = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=6, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0, 2, 4)
)
SMALL_VAE = WanVaeConfig(dim=4, z_dim=3, num_res_blocks=1, mean=(0.1, -0.2, 0.3), std=(1.5, 0.5, 2.0))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def new_model(config: WanConfig = SIX_LAYERS) -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(config).eval().requires_grad_(False)


@torch.inference_mode()
def stream(model: CausalVaceWanModel, chunks: int = 5) -> list[Tensor]:
    """The flows of guided and clean passes until the ring has gone round, each at a strength of its own."""
    draws = torch.Generator().manual_seed(1)
    context = model.encode_text(torch.ones(1, 3, 10))
    cache = model.new_cache(WindowConfig(local_attn_size=9), 4, 6)
    flows: list[Tensor] = []
    for index in range(chunks):
        x = torch.randn(1, 3, 16, 4, 6, generator=draws)
        control = model.embed_control(torch.randn(1, 3, 96, 4, 6, generator=draws), 3)
        guidance = {"control": control, "control_scale": torch.tensor(0.5 + index)}
        flows.append(model(x, torch.full((1, 3), 500.0), context, cache, 3 * index, **guidance))
        flows.append(model(x, torch.zeros(1, 3), context, cache, 3 * index))
    return flows


@pytest.mark.slow  # compiles C++
def test_compiled_equals_eager() -> None:
    wanted = stream(new_model())
    model = new_model()
    compile_transformer(model)
    for got, want in zip(stream(model), wanted, strict=True):
        assert (got - want).norm() / want.norm() < 1e-5
    assert not counters["graph_break"]


def graphs_of(layers: int, branch: tuple[int, ...]) -> int:
    torch._dynamo.reset()
    counters.clear()
    model = new_model(replace(SIX_LAYERS, num_layers=layers, vace_layers=branch))
    compile_transformer(model, backend="eager")
    stream(model)
    assert not counters["graph_break"]
    return counters["stats"]["unique_graphs"]


def test_all_layers_and_all_chunks_share_what_is_compiled_once() -> None:
    """However many layers, however full the window, however strong the guidance."""
    # Three parts of a block and the head; of the branch its three parts, and the hint's strength.
    assert graphs_of(2, (0,)) == graphs_of(6, (0, 2, 4)) == 8


def test_the_state_dict_keeps_its_keys() -> None:
    model = new_model()
    keys = list(model.state_dict())
    compile_transformer(model, backend="eager")
    assert list(model.state_dict()) == keys


@torch.inference_mode()
def test_a_compiled_autoencoder_equals_the_eager_one() -> None:
    torch.manual_seed(0)
    vae = WanVAE(SMALL_VAE).double().eval().requires_grad_(False)
    video = torch.rand(1, 33, 3, 16, 24, dtype=torch.float64) * 2 - 1

    def there_and_back() -> tuple[Tensor, Tensor]:
        first, encoder = vae.encode(video[:, :9])
        shown, decoder = vae.decode(first)
        latents, frames = [first], [shown]
        for start in (9, 21):
            part, encoder = vae.encode(video[:, start : start + 12], encoder)
            shown, decoder = vae.decode(part, decoder)
            latents, frames = [*latents, part], [*frames, shown]
        return torch.cat(latents, 1), torch.cat(frames, 1)

    wanted = there_and_back()
    compile_autoencoder(vae, backend="eager")
    for got, want in zip(there_and_back(), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]


def test_what_is_compiled_is_kept_where_asked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    keep_compiled(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
    assert os.environ.pop("TRITON_CACHE_DIR") == str(tmp_path / "triton")
