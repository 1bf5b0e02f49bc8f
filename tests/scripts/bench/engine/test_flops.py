"""Arithmetic that is counted is arithmetic that runs."""

import pytest
import torch

from scripts.bench.engine import flops
from streaming.checkpoints.presets import WAN_1_3B
from streaming.config import WanConfig, WindowConfig
from streaming.kernels import hopper_convolution
from streaming.modules.causal_vace_model import CausalVaceWanModel

TINY = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=3, freq_dim=16, text_dim=8, text_len=5, vace_layers=(0, 2)
)


def test_a_pass_is_as_much_arithmetic_as_it_dispatches() -> None:
    model, window = CausalVaceWanModel(TINY).eval(), WindowConfig(local_attn_size=6, sink_size=3)
    cache = model.new_cache(window, 4, 8)
    with torch.inference_mode():
        text = model.encode_text(torch.randn(1, 5, 8))
        control = model.embed_control(torch.randn(1, 3, 96, 4, 8), 3)
        x, timestep = torch.randn(1, 3, 16, 4, 8), torch.full((1, 3), 500.0)
        model(x, timestep, text, cache, 0)
        plain = flops.counted(lambda: model(x, timestep, text, cache, 3))
        guided = flops.counted(lambda: model(x, timestep, text, cache, 3, control=control))
    of_pass = flops.pass_work(TINY, latents=3, tokens_per_latent=8, window=6)
    of_hints = flops.hints_work(TINY, latents=3, tokens_per_latent=8)
    assert of_pass.total == pytest.approx(plain.total, rel=1e-6)
    assert of_hints.total == pytest.approx(guided.total - plain.total, rel=1e-6)


def test_kernels_that_pytorch_cannot_count_are_counted_as_the_convolutions_that_they_are() -> None:
    weight, before, x = (
        torch.randn(96, 96, 3, 3, 3),
        torch.randn(1, 96, 2, 4, 6),
        torch.randn(1, 96, 3, 4, 6),
    )
    together = torch.nn.functional.pad(torch.cat([before, x], 2), (1, 1, 1, 1))
    plain = flops.counted(lambda: torch.nn.functional.conv3d(together, weight))
    narrow = [v.to("meta", torch.bfloat16) for v in (before, x, hopper_convolution.pack(weight))]
    own = flops.counted(lambda: hopper_convolution.convolve(*narrow, torch.empty(96, device="meta")))
    assert own.total == plain.total > 0
    flat, kernel = torch.randn(2, 8, 5, 7), torch.randn(4, 8, 3, 3)
    plain = flops.counted(lambda: torch.nn.functional.conv2d(flat, kernel, padding=1))
    fused = flops._convolution_relu(flat.shape, kernel.shape, (4,), out_shape=(2, 4, 5, 7))
    assert fused == plain.total > 0


def test_the_published_models_pass_is_28_teraflop() -> None:
    """As the design counted it by hand, at 832x480 with a window of 12 latents."""
    work = flops.pass_work(WAN_1_3B, latents=3, tokens_per_latent=1560, window=12)
    assert work.total / 1e12 == pytest.approx(28.3, abs=0.1)


def test_a_floor_adds_what_each_unit_takes() -> None:
    work = flops.Work(gemm=2e9, attention=3e9)
    assert work.floor_ms({"gemm": 1e12, "attention": 0.5e12, "fp8_gemm": None}) == pytest.approx(2 + 6)
    assert (work + flops.Work(fp8_gemm=1e9)).floor_ms({"gemm": 1e12, "attention": 1e12}) is None


def test_in_fp8_the_work_is_the_same_and_its_floor_another() -> None:
    fp8 = flops.InFp8(products=True, attention=True)
    sizes = {"latents": 3, "tokens_per_latent": 1560}
    for plain, other in (
        (flops.pass_work(WAN_1_3B, **sizes, window=12), {"window": 12}),
        (flops.hints_work(WAN_1_3B, **sizes), {}),
    ):
        make = flops.pass_work if other else flops.hints_work
        quick = make(WAN_1_3B, **sizes, **other, fp8=fp8)
        assert quick.total == pytest.approx(plain.total)
        assert quick.fp8_gemm > quick.gemm and quick.fp8_attention > quick.attention
