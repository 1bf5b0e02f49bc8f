"""Laws of fused blocks: they say what the plain blocks say, in every type, with and without memory."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streaming.acceleration import use_fp8
from streaming.config import WanConfig, WindowConfig
from streaming.modules.causal_model import WanBlock
from streaming.modules.causal_vace_model import CausalVaceWanModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),  # the compiler's own
]
# No width is a power of 2, and heads are no whole block: what lies beside a row must not count.
CONFIG = WanConfig(
    dim=96, ffn_dim=80, num_heads=3, num_layers=3, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0, 2)
)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@torch.no_grad()
def new_model(dtype: torch.dtype, *, fp8: bool = False) -> CausalVaceWanModel:
    torch.manual_seed(0)
    model = CausalVaceWanModel(CONFIG).eval().requires_grad_(False)
    for parameter in model.parameters():  # biases and norms that are not what they start as
        parameter.add_(0.1 * torch.randn_like(parameter))
    model.to("cuda", dtype)
    for module in model.modules():
        if isinstance(module, WanBlock):
            module.self_attn.pack()
    if fp8:
        use_fp8(model)
    return model


def fused(model: CausalVaceWanModel) -> CausalVaceWanModel:
    from streaming.gpu.fusion import fused_parts  # needs Triton

    model.parts = fused_parts(model.config)
    return model


@torch.inference_mode()
def stream(model: CausalVaceWanModel) -> list[Tensor]:
    """Passes guided by one to three controls and clean ones until the ring has gone round, references among
    them, and a recache under a protected sink."""
    draws, weight = torch.Generator("cuda").manual_seed(1), model.patch_embedding.weight

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, device="cuda").to(weight.dtype)

    def at(timestep: float, latents: int) -> Tensor:
        return torch.full((1, latents), timestep, device="cuda")

    context, flows, seen = model.encode_text(normal(1, 3, 10)), list[Tensor](), list[Tensor]()
    cache = model.new_cache(WindowConfig(local_attn_size=9), 4, 6)
    for index in range(5):
        count = index % 3
        references = normal(1, count, 16, 4, 6) if count else None
        controls = 1 + index % 3
        control = model.embed_control(normal(controls, 3 + count, 96, 4, 6), 3 + count)
        scales = torch.linspace(0.5, 0.5 + index, controls, device="cuda")
        seen.append(normal(1, 3, 16, 4, 6))
        guided = model(
            *(seen[-1], at(500.0, 3), context, cache, 3 * index),
            control=control,
            control_scale=scales if controls > 1 else scales[0],
            references=references,
        )
        flows += [guided, model(seen[-1], at(0.0, 3), context, cache, 3 * index)]
    flows.append(model(torch.cat(seen[-3:], 1), at(0.0, 9), context, cache, cache.end - cache.filled))
    return flows


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_fused_equals_plain(dtype: torch.dtype, bound: float) -> None:
    for got, want in zip(stream(fused(new_model(dtype))), stream(new_model(dtype)), strict=True):
        assert (got - want).norm() / want.norm() < bound


def test_fused_and_quantised_equals_quantised() -> None:
    """The kernels quantise as `fp8.quantised` does; a rare value lands on the next step."""
    plain, both = new_model(torch.bfloat16, fp8=True), fused(new_model(torch.bfloat16, fp8=True))
    for got, want in zip(stream(both), stream(plain), strict=True):
        assert (got - want).norm() / want.norm() < 2e-2


def test_a_network_that_the_kernels_do_not_know_is_refused() -> None:
    from streaming.gpu.fusion import fused_parts

    with pytest.raises(ValueError, match="a head size that is a power of 2, got True, True, 24"):
        fused_parts(replace(CONFIG, num_heads=4))
