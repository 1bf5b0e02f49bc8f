"""A block's parts on a GPU: the library's products with kernels of our own between them.

What lies between two products goes once over memory instead of up to eight times, and nothing is left to
compile at a start but a handful of small kernels. Numbers are those of the plain parts, see
`streaming.modules.triton_kernels`.
"""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from streaming.fp8 import FP8, Fp8Linear, Quantised
from streaming.modules import triton_kernels as kernels
from streaming.modules.causal_model import Attention, RMSNorm, WanBlock
from streaming.modules.causal_vace_model import CausalVaceWanModel


def fuse(model: CausalVaceWanModel, *, fp8_attention: bool = False) -> None:
    """From now on the blocks of `model` run fused. `fp8_attention`: self-attention's operands are fp8, those
    that a stream remembers too, which the kernel "fa3" alone takes. Raises ValueError for a network that the
    kernels do not know."""
    config = model.config
    if not (config.qk_norm and config.cross_attn_norm) or config.head_dim & (config.head_dim - 1):
        raise ValueError(
            "fused blocks need qk_norm, cross_attn_norm and a head size that is a power of 2, "
            f"got {config.qk_norm}, {config.cross_attn_norm}, {config.head_dim}"
        )
    model.memory_dtype, model.scaled = FP8 if fp8_attention else None, kernels.scaled
    for block in model.modules():
        if isinstance(block, WanBlock):
            for part in (turn_to_text, leave):
                setattr(block, part.__name__, partial(part, block))
            for part in (enter, enter_ring):
                setattr(block, part.__name__, partial(part, block, model.memory_dtype))


def enter(
    block: WanBlock, dtype: torch.dtype | None, x: Tensor, modulation: Tensor, turn: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `WanBlock.enter`; attention's operands are of `dtype`, None: that of x."""
    return _project(block, dtype or x.dtype, x, modulation, turn)


def enter_ring(
    block: WanBlock,
    dtype: torch.dtype | None,
    x: Tensor,
    modulation: Tensor,
    turn: Tensor,
    ring_k: Tensor,
    ring_v: Tensor,
    slots: Tensor,
) -> Tensor:
    """As `WanBlock.enter_ring`, likewise."""
    return _project(block, dtype or x.dtype, x, modulation, turn, (ring_k, ring_v), slots)[0]


def turn_to_text(block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """As `WanBlock.turn_to_text`."""
    affine = block.norm3
    assert isinstance(affine, nn.LayerNorm), "checked when fused"
    x, normed = kernels.norm(
        x,
        eps=affine.eps,
        add=block.self_attn.o(attended.flatten(2)),
        gate=kernels.GATE_SA,
        modulation=(block.modulation, modulation),
        affine=(affine.weight, affine.bias),
    )
    text = block.cross_attn
    assert isinstance(normed, Tensor)  # nothing was asked in fp8
    weight, eps = _norm_of(text, "norm_q")
    return x, kernels.rms_norm(text.q(normed), weight, heads=text.num_heads, eps=eps)


def leave(block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
    """As `WanBlock.leave`."""
    grown, _, shrunk = cast(tuple[Any, ...], tuple(block.ffn))  # nn.Linear or Fp8Linear
    both = (block.modulation, modulation)
    x, normed = kernels.norm(
        x,
        eps=block.norm2.eps,
        add=block.cross_attn.o(attended.flatten(2)),
        modulation=both,
        shift=kernels.SHIFT_FFN,
        scale=kernels.SCALE_FFN,
        quantised=isinstance(grown, Fp8Linear),
    )
    if isinstance(normed, Quantised):
        middle = shrunk.multiply(kernels.gelu_quantised(grown.multiply(normed, x.dtype)), x.dtype)
    else:  # the library's own epilogue: the products never meet memory
        rows = normed.flatten(0, 1)
        rows = torch.ops.aten._addmm_activation(grown.bias, rows, grown.weight.t(), use_gelu=True)
        middle = shrunk(rows.unflatten(0, x.shape[:2]))
    return kernels.add_gated(x, middle, kernels.GATE_FFN, both)


def _project(
    block: WanBlock,
    dtype: torch.dtype,
    x: Tensor,
    modulation: Tensor,
    turn: Tensor,
    ring: tuple[Tensor, Tensor] | None = None,
    slots: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    attention, qkv = block.self_attn, cast(Any, block.self_attn.qkv)  # nn.Linear or Fp8Linear
    _, normed = kernels.norm(
        x,
        eps=block.norm1.eps,
        modulation=(block.modulation, modulation),
        shift=kernels.SHIFT_SA,
        scale=kernels.SCALE_SA,
        quantised=isinstance(qkv, Fp8Linear),
    )
    products = qkv.multiply(normed, x.dtype) if isinstance(normed, Quantised) else qkv(normed)
    (weight_q, eps), (weight_k, _) = (_norm_of(attention, name) for name in ("norm_q", "norm_k"))
    return kernels.normed_rotated(
        products,
        (weight_q, weight_k),
        turn,
        heads=attention.num_heads,
        eps=eps,
        dtype=dtype,
        ring=ring,
        slots=slots,
    )


def _norm_of(attention: Attention, name: str) -> tuple[Tensor, float]:
    norm = getattr(attention, name)
    assert isinstance(norm, RMSNorm), "checked when fused"
    return norm.weight, norm.eps
