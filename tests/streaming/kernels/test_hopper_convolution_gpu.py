"""The convolution for Hopper on one: the library's numbers, for every size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.kernels.hopper_convolution import can_convolve, convolve, pack
from streaming.modules.wan_vae import WanVAE, WanVaeConfig, arrange

GPU = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not can_convolve(GPU), reason="needs a Hopper card and NVIDIA's bindings"),
]

# Batch, channels, outputs, frames, height, width: whole tiles, edges of tiles, less than one tile.
SIZES = [
    (1, 96, 96, 2, 16, 64),
    (2, 96, 96, 5, 13, 45),
    (1, 192, 192, 3, 21, 70),
    (1, 96, 192, 1, 5, 7),
    (1, 384, 192, 2, 9, 33),
    (1, 192, 96, 12, 40, 200),
]


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_it_is_a_causal_convolution(size: tuple[int, ...]) -> None:
    batch, channels, outputs, frames, height, width = size
    draws = torch.Generator(GPU).manual_seed(frames)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, device=GPU)

    x = normal(batch, channels, frames + 2, height, width).bfloat16()
    weight, bias = (normal(outputs, channels, 3, 3, 3) / (27 * channels) ** 0.5).bfloat16(), normal(outputs)
    got = convolve(x[:, :, :2], x[:, :, 2:], pack(weight), bias)
    wanted = F.conv3d(x.double(), weight.double(), bias.double(), padding=(0, 1, 1))
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(got.double(), wanted, rtol=4e-3, atol=2e-3)  # rounded once, to bfloat16


def test_another_type_is_refused() -> None:
    x = torch.zeros(1, 96, 3, 8, 8, device=GPU)
    with pytest.raises(ValueError, match="takes torch.bfloat16, got torch.float32"):
        convolve(x[:, :, :2], x[:, :, 2:], pack(torch.zeros(96, 96, 3, 3, 3, device=GPU)), x[0, :, 0, 0, 0])


@torch.inference_mode()
def test_a_stream_through_the_autoencoder_comes_no_less_exact() -> None:
    torch.manual_seed(0)
    with GPU:
        vae = WanVAE(WanVaeConfig()).eval().requires_grad_(False)
        video = torch.rand(1, 33, 3, 48, 80).bfloat16() * 2 - 1

    def there_and_back(dtype: torch.dtype) -> Tensor:
        frames = video.to(dtype)
        first, encoder = vae.encode(frames[:, :9])
        shown, decoder = vae.decode(first)
        results = [first, shown]
        for start in (9, 21):
            latents, encoder = vae.encode(frames[:, start : start + 12], encoder)
            shown, decoder = vae.decode(latents, decoder)
            results += [latents, shown]
        return torch.cat([x.double().flatten() for x in results])

    vae.load_state_dict({name: value.bfloat16() for name, value in vae.state_dict().items()})
    exact = there_and_back(torch.float32)
    vae.bfloat16()
    plain = (there_and_back(torch.bfloat16) - exact).norm()
    arrange(vae, channels_last=True, own=True)
    assert (there_and_back(torch.bfloat16) - exact).norm() < 1.1 * plain < 0.1 * exact.norm()
