"""Laws of what is compiled: it equals the eager parts, in one piece each."""

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from streaming.config import TaehvConfig
from streaming.gpu.compilation import compile_autoencoder, keep_compiled
from streaming.modules.taehv import TAEHV
from streaming.modules.wan_vae import WanVAE, WanVaeConfig

# Inductor's own, when it is imported and when it starts its compilers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

SMALL_VAE = WanVaeConfig(dim=4, z_dim=3, num_res_blocks=1, mean=(0.1, -0.2, 0.3), std=(1.5, 0.5, 2.0))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


SMALL_TAEHV = TaehvConfig(
    latent_channels=3, encoder_channels=(8, 8, 8, 8), decoder_channels=(12, 8, 8, 8), patch_size=1
)


@pytest.mark.parametrize("kind", [WanVAE, TAEHV])
@torch.inference_mode()
def test_a_compiled_autoencoder_equals_the_eager_one(kind: type[WanVAE] | type[TAEHV]) -> None:
    torch.manual_seed(0)
    network = WanVAE(SMALL_VAE) if kind is WanVAE else TAEHV(SMALL_TAEHV)
    network.double().eval().requires_grad_(False)
    keys = list(network.state_dict())
    video = torch.rand(1, 33, 3, 16, 24, dtype=torch.float64) * 2 - 1

    def there_and_back() -> tuple[Tensor, Tensor]:
        first, encoder = network.encode(video[:, :9], None)
        shown, decoder = network.decode(first, None)
        latents, frames = [first], [shown]
        for start in (9, 21):
            part, encoder = network.encode(video[:, start : start + 12], encoder)
            shown, decoder = network.decode(part, decoder)
            latents, frames = [*latents, part], [*frames, shown]
        return torch.cat(latents, 1), torch.cat(frames, 1)

    wanted = there_and_back()
    compile_autoencoder(network, backend="eager")
    for got, want in zip(there_and_back(), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]
    assert list(network.state_dict()) == keys


def test_what_is_compiled_is_kept_where_asked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    keep_compiled(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
    assert os.environ.pop("TRITON_CACHE_DIR") == str(tmp_path / "triton")
