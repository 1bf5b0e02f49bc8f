"""Laws of the VACE branch; its numbers are checked in tests/parity."""

import pytest
import torch

from streaming.config import WanConfig, WindowConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel

CONFIG = WanConfig(
    dim=24, ffn_dim=40, num_heads=2, num_layers=3, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0, 2)
)
T = torch.full((1, 3), 700.0)


@pytest.fixture
def model() -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(CONFIG).eval().requires_grad_(False)


def test_strength_zero_is_no_guidance(model: CausalVaceWanModel) -> None:
    x, context = torch.randn(1, 3, 16, 4, 6), model.encode_text(torch.ones(1, 2, 10))
    control = model.embed_control(torch.randn(1, 3, 96, 4, 6), 3)
    plain = model(x, T, context)
    assert torch.equal(model(x, T, context, control=control, control_scale=0.0), plain)
    assert not torch.allclose(model(x, T, context, control=control, control_scale=0.5), plain, atol=1e-3)


def test_hints_depend_on_control_noise_and_timestep(model: CausalVaceWanModel) -> None:
    x, context = torch.randn(1, 3, 16, 4, 6), model.encode_text(torch.ones(1, 2, 10))
    control = model.embed_control(torch.randn(1, 3, 96, 4, 6), 3)
    hints = list(model.hints(model.begin(x, T), control, context))
    assert len(hints) == 2
    for shared, other in (
        (model.begin(x, T), control + 1),
        (model.begin(x + 1, T), control),
        (model.begin(x, T - 400), control),
    ):
        assert not torch.allclose(list(model.hints(shared, other, context))[1], hints[1], atol=1e-3)


@pytest.mark.parametrize("with_reference", [False, True])
def test_law_added_hints_equal_the_sum_of_single_ones(
    model: CausalVaceWanModel, with_reference: bool
) -> None:
    """Each by its own strength, with a reference before each or without; in float32."""
    x, context = torch.randn(1, 3, 16, 4, 6), model.encode_text(torch.randn(1, 2, 10))
    frames = 3 + with_reference
    shared = branch = model.begin(x, T)
    if with_reference:
        branch = model.begin(torch.cat([torch.randn(1, 1, 16, 4, 6), x], 1), torch.full((1, 4), 700.0))
    control = model.embed_control(torch.randn(3, frames, 96, 4, 6), frames)
    scales = (0.5, 2.0, 1.25)
    single = [
        model.hints_of_chunk(shared, branch, each[None], context, scale)
        for each, scale in zip(control, scales, strict=True)
    ]
    added = model.hints_of_chunk(shared, branch, control, context, torch.tensor(scales))
    assert added.keys() == {0, 2}
    for layer, hint in added.items():
        wanted = torch.stack([hints[layer] for hints in single]).sum(0)
        assert hint.shape == (1, 18, 24)
        torch.testing.assert_close(hint, wanted, atol=2e-6, rtol=1e-5)
        assert not torch.allclose(hint, single[0][layer] + single[1][layer], atol=1e-2)


def test_law_one_control_by_a_vector_of_one_strength_is_what_it_is_by_a_number(
    model: CausalVaceWanModel,
) -> None:
    """Bit for bit."""
    x, context = torch.randn(1, 3, 16, 4, 6), model.encode_text(torch.ones(1, 2, 10))
    control = model.embed_control(torch.randn(1, 3, 96, 4, 6), 3)
    flows = [model(x, T, context, control=control, control_scale=s) for s in (0.7, torch.tensor([0.7]))]
    assert torch.equal(*flows)


def test_the_branch_sees_its_chunk_only(model: CausalVaceWanModel) -> None:
    """The same chunk later in a stream gets the same hints: no memory, and positions only shift."""
    context = model.encode_text(torch.ones(1, 2, 10))
    cache = model.new_cache(WindowConfig(local_attn_size=6), 4, 6)
    x = torch.randn(1, 3, 16, 4, 6)
    control = model.embed_control(torch.randn(1, 3, 96, 4, 6), 3)
    early = list(model.hints(model.begin(x, T, cache, 0), control, context))
    model(torch.randn(1, 3, 16, 4, 6), T, context, cache, 0)
    late = list(model.hints(model.begin(x, T, cache, 3), control, context))
    for a, b in zip(early, late, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_control_of_another_length_is_cut_or_padded(model: CausalVaceWanModel) -> None:
    control = torch.randn(1, 5, 96, 4, 6)
    whole = model.embed_control(control, 5)
    assert torch.equal(model.embed_control(control, 3), whole[:, :18])
    padded = model.embed_control(control, 6)
    assert torch.equal(padded[:, :30], whole)
    assert torch.equal(padded[:, 30:], model.vace_blocks[0].before_proj.bias.expand(1, 6, -1))
