"""Laws of fp8 products: close to the exact ones row by row, whatever the rows' magnitudes."""

import pytest
import torch
from torch import nn

from streaming.acceleration import use_fp8
from streaming.config import WanConfig
from streaming.kernels.fp8 import FP8, Fp8Linear, quantised
from streaming.modules.causal_vace_model import CausalVaceWanModel

CONFIG = WanConfig(
    dim=64, ffn_dim=96, num_heads=2, num_layers=2, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0,)
)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def test_a_row_is_as_exact_as_its_own_magnitude_allows() -> None:
    """e4m3 keeps three bits after the first: no value is off by more than 1/16, but for the tiniest."""
    x = draw(6, 512) * torch.tensor([1e-6, 1e-3, 1.0, 30.0, 1e3, 1e5])[:, None]
    values, scales = quantised(x)
    assert values.dtype == FP8 and scales.shape == (6, 1)
    error = (values.float() * scales - x).abs()
    smallest = scales * 2.0**-6  # below, steps are no longer relative
    assert (error <= x.abs() / 16 + smallest / 16).all()
    assert torch.isfinite(values.float()).all() and values.float().abs().amax(1).eq(448).all()


def test_a_row_of_zeros_stays_zero() -> None:
    values, scales = quantised(torch.zeros(2, 32))
    assert not (values.float() * scales).any() and torch.isfinite(scales).all()


def test_a_product_is_off_by_a_few_percent_in_every_row() -> None:
    linear = nn.Linear(256, 128).bfloat16().requires_grad_(False)
    x = (draw(2, 9, 256) * torch.logspace(-3, 3, 9)[:, None]).bfloat16()
    got, wanted = Fp8Linear(linear)(x), linear(x)
    assert got.shape == wanted.shape and got.dtype == torch.bfloat16
    error = (got.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1)
    assert error.max() < 0.05
    assert error.median() > 1e-4, "it is quantised indeed"


def test_widths_that_the_hardware_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 24 -> 32"):
        Fp8Linear(nn.Linear(24, 32))


def forward(model: CausalVaceWanModel) -> torch.Tensor:
    context = model.encode_text(draw(1, 3, 10))
    control = model.embed_control(draw(1, 3, 96, 4, 6), 3)
    return model(draw(1, 3, 16, 4, 6), torch.full((1, 3), 500.0), context, control=control)


@pytest.fixture
def model() -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(CONFIG).eval().requires_grad_(False)


@torch.inference_mode()
def test_packed_projections_are_the_same(model: CausalVaceWanModel) -> None:
    wanted = forward(model)
    for block in (*model.blocks, *model.vace_blocks):
        block.self_attn.pack()
    torch.testing.assert_close(forward(model), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@torch.inference_mode()
def test_a_model_with_fp8_products_says_nearly_the_same(model: CausalVaceWanModel, packed: bool) -> None:
    wanted = forward(model)
    if packed:
        for block in (*model.blocks, *model.vace_blocks):
            block.self_attn.pack()
    use_fp8(model)
    exchanged = [name for name, module in model.named_modules() if isinstance(module, Fp8Linear)]
    assert len(exchanged) == 3 * (3 if packed else 5)  # what is attended to and dim x dim stay
    assert not any(
        name.endswith(("embedding.0", "projection.1", "head", ".o", "cross_attn.q")) for name in exchanged
    )
    error = (forward(model) - wanted).norm() / wanted.norm()
    assert 1e-4 < error < 0.1
