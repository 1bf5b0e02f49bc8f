"""The transformer and its VACE branch against diffusers' implementations, on random small models.

Without a cache ours is Wan 2.1 as published: attention is bidirectional over all latents given.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from streaming.config import WanConfig
from streaming.modules.causal_model import CausalWanModel
from streaming.modules.causal_vace_model import CausalVaceWanModel

pytestmark = pytest.mark.oracle

SMALL = WanConfig(
    dim=48,
    ffn_dim=80,
    num_heads=2,
    num_layers=3,
    freq_dim=16,
    text_dim=20,
    text_len=7,
    in_dim=3,
    out_dim=3,
    vace_in_dim=10,
)
CONFIGS = {
    "as published, smaller": SMALL,
    "published head size": replace(SMALL, dim=256, num_layers=2),
    "head size that three does not divide": replace(SMALL, dim=40),
    "no norm before the text": replace(SMALL, cross_attn_norm=False),
}
# (latents, height, width): one latent, more rows than columns, and a chunk as the engine has them.
GRIDS = [(1, 4, 6), (2, 8, 4), (3, 4, 6)]
LAYERS = [(0,), (0, 2), (0, 1, 2)]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

# Our (upstream's) names -> diffusers'. Its norm2 and norm3 stand for our norm3 and norm2.
RENAMED = [
    (r"^time_embedding\.0", "condition_embedder.time_embedder.linear_1"),
    (r"^time_embedding\.2", "condition_embedder.time_embedder.linear_2"),
    (r"^text_embedding\.0", "condition_embedder.text_embedder.linear_1"),
    (r"^text_embedding\.2", "condition_embedder.text_embedder.linear_2"),
    (r"^time_projection\.1", "condition_embedder.time_proj"),
    (r"^head\.head", "proj_out"),
    (r"^head\.modulation", "scale_shift_table"),
    (r"modulation$", "scale_shift_table"),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"(attn[12])\.([qkv])\.", r"\1.to_\2."),
    (r"(attn[12])\.o\.", r"\1.to_out.0."),
    (r"\.norm3\.", ".norm2."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
    (r"\.before_proj\.", ".proj_in."),
    (r"\.after_proj\.", ".proj_out."),
]


def diffusers_name(key: str) -> str:
    for pattern, name in RENAMED:
        key = re.sub(pattern, name, key)
    return key


def make_pair(config: WanConfig) -> tuple[CausalWanModel, nn.Module]:
    """The same random weights in both; norms get other weights than the ones they start with."""
    from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

    torch.manual_seed(0)
    ours = (CausalVaceWanModel if config.vace_layers else CausalWanModel)(config).eval().requires_grad_(False)
    for name, parameter in ours.named_parameters():
        if "norm" in name:
            parameter.uniform_(0.5, 1.5)
    sizes = {
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        **{name: getattr(config, name) for name in ("patch_size", "text_dim", "freq_dim", "ffn_dim")},
        **{name: getattr(config, name) for name in ("num_layers", "cross_attn_norm", "eps")},
    }
    if config.vace_layers:
        branch = {"vace_layers": list(config.vace_layers), "vace_in_channels": config.vace_in_dim}
        theirs: nn.Module = WanVACETransformer3DModel(**sizes, **branch)
    else:
        theirs = WanTransformer3DModel(**sizes)
    theirs.load_state_dict({diffusers_name(key): value for key, value in ours.state_dict().items()})
    return ours, theirs.eval().requires_grad_(False)


def draw(*shape: int, salt: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(salt))


def draw_text(config: WanConfig) -> Tensor:
    """(2, text_len, text_dim), the last rows zero as after a short prompt: both attend to them."""
    text = draw(2, config.text_len, config.text_dim, salt=1)
    text[:, -2:] = 0
    return text


def channels_first(x: Tensor) -> Tensor:
    """(B, F, C, H, W) <-> diffusers' (B, C, F, H, W)."""
    return x.transpose(1, 2)


def collect(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Filled with what the modules give, in the order in which they run."""
    seen: list[Tensor] = []
    for module in modules:
        module.register_forward_hook(lambda _module, _given, out: seen.append(out))
    return seen


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_flow_agrees_with_diffusers(config: WanConfig, grid: tuple[int, int, int]) -> None:
    ours, theirs = make_pair(config)
    x, text = draw(2, grid[0], config.in_dim, *grid[1:]), draw_text(config)
    timestep = torch.tensor([937.5, 250.0])
    flow = ours(x, timestep[:, None].expand(x.shape[:2]), ours.encode_text(text))
    wanted = theirs(channels_first(x), timestep, text).sample
    torch.testing.assert_close(channels_first(flow), wanted, **CLOSE)


def test_a_timestep_for_each_latent_agrees_with_diffusers() -> None:
    """There it is one for each token (Wan 2.2): the latent's, repeated."""
    ours, theirs = make_pair(SMALL)
    x, text = draw(1, 3, SMALL.in_dim, 4, 6), draw_text(SMALL)[:1]
    timestep = torch.tensor([[0.0, 833.3333, 1000.0]])
    flow = ours(x, timestep, ours.encode_text(text))
    wanted = theirs(channels_first(x), timestep.repeat_interleave(2 * 3, dim=1), text).sample
    torch.testing.assert_close(channels_first(flow), wanted, **CLOSE)


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_guided_flow_agrees_with_diffusers(config: WanConfig, layers: tuple[int, ...]) -> None:
    """Layer by layer: hint n is added after main block `vace_layers[n]`, times the strength.

    diffusers has a strength for each layer, and turns its list of hints over to pop them from the end: the
    order is ours.
    """
    config = replace(config, vace_layers=tuple(n for n in layers if n < config.num_layers))
    ours, theirs = make_pair(config)
    x, text = draw(2, 3, config.in_dim, 4, 6), draw_text(config)
    control = draw(2, 3, config.vace_in_dim, 4, 6, salt=2)
    timestep, tokens = torch.tensor([1000.0, 625.0]), ours.embed_control(control, 3)
    for strength in (0.0, 1.0, 1.7):
        flow = ours(
            x,
            timestep[:, None].expand(2, 3),
            ours.encode_text(text),
            control=tokens,
            control_scale=strength,
        )
        wanted = theirs(
            channels_first(x),
            timestep,
            text,
            control_hidden_states=channels_first(control),
            control_hidden_states_scale=torch.full([len(config.vace_layers)], strength),
        ).sample
        torch.testing.assert_close(channels_first(flow), wanted, **CLOSE)


def test_control_shorter_than_the_chunk_is_padded_as_diffusers_pads_it() -> None:
    config = replace(SMALL, vace_layers=(0, 2))
    ours, theirs = make_pair(config)
    x, text = draw(1, 3, config.in_dim, 4, 6), draw_text(config)[:1]
    control, timestep = draw(1, 2, config.vace_in_dim, 4, 6, salt=2), torch.tensor([500.0])
    tokens = ours.embed_control(control, 3)
    flow = ours(x, timestep.expand(1, 3), ours.encode_text(text), control=tokens)
    wanted = theirs(channels_first(x), timestep, text, control_hidden_states=channels_first(control)).sample
    torch.testing.assert_close(channels_first(flow), wanted, **CLOSE)


def test_hints_beside_references_agree_with_diffusers() -> None:
    """There references are latents in front of the video, in the main blocks too; here in the branch only.

    So the hints must be the same, and the flow need not be.
    """
    config = replace(SMALL, vace_layers=(0, 2))
    ours, theirs = make_pair(config)
    x, references = draw(1, 3, config.in_dim, 4, 6), draw(1, 2, config.in_dim, 4, 6, salt=3)
    control, text = draw(1, 5, config.vace_in_dim, 4, 6, salt=2), draw_text(config)[:1]
    timestep = torch.tensor([625.0])
    hints = collect(block.after_proj for block in ours.vace_blocks)
    wanted = collect(block.proj_out for block in theirs.vace_blocks)
    ours(
        x,
        timestep.expand(1, 3),
        ours.encode_text(text),
        control=ours.embed_control(control, 5),
        references=references,
    )
    theirs(
        channels_first(torch.cat([references, x], dim=1)),
        timestep,
        text,
        control_hidden_states=channels_first(control),
    )
    assert len(hints) == len(wanted) == 2
    torch.testing.assert_close(torch.stack(hints), torch.stack(wanted), **CLOSE)
