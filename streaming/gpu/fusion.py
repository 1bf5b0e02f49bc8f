"""A block's parts on a GPU: the library's products with kernels of our own between them.

What lies between two products goes once over memory instead of up to eight times, and nothing is left to
compile at a start but a handful of small kernels. Numbers are those of the plain parts, see
`streaming.kernels.triton_kernels`.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from streaming.config import WanConfig
from streaming.kernels import triton_kernels as kernels
from streaming.kernels.attention import AttentionKernel, attend
from streaming.kernels.fp8 import FP8, Fp8Linear, Quantised
from streaming.modules.causal_model import Attention, BlockParts, RMSNorm, WanBlock


def fused_parts(
    config: WanConfig, attend: AttentionKernel = attend, *, fp8_attention: bool = False
) -> "FusedParts":
    """For blocks of self-attention that is packed. `fp8_attention`: self-attention's operands are fp8, those
    that a stream remembers too, which the kernel "fa3" alone takes. Raises ValueError for a network that the
    kernels do not know."""
    if not (config.qk_norm and config.cross_attn_norm) or config.head_dim & (config.head_dim - 1):
        raise ValueError(
            "fused blocks need qk_norm, cross_attn_norm and a head size that is a power of 2, "
            f"got {config.qk_norm}, {config.cross_attn_norm}, {config.head_dim}"
        )
    return FusedParts(attend, FP8 if fp8_attention else None)


@dataclass(frozen=True, slots=True)
class FusedParts(BlockParts):
    """`BlockParts` with kernels between the products; `kv_dtype` is that of all operands of self-attention.
    Made by `fused_parts`."""

    def self_attn_qkv(
        self, block: WanBlock, x: Tensor, modulation: Tensor, rotation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _project(block, self.kv_dtype or x.dtype, x, modulation, rotation)

    def self_attn_q(
        self,
        block: WanBlock,
        x: Tensor,
        modulation: Tensor,
        rotation: Tensor,
        ring_k: Tensor,
        ring_v: Tensor,
        slots: Tensor,
    ) -> Tensor:
        ring = ring_k, ring_v
        return _project(block, self.kv_dtype or x.dtype, x, modulation, rotation, ring, slots)[0]

    def cross_attn_q(
        self, block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
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

    def cross_attn_out_ffn(self, block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
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

    def scaled(self, hint: Tensor, scale: float | Tensor) -> Tensor:
        return kernels.scaled(hint, scale)


def _project(
    block: WanBlock,
    dtype: torch.dtype,
    x: Tensor,
    modulation: Tensor,
    rotation: Tensor,
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
        rotation,
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
