"""Matrix products in fp8: every row of the activations and every row of the weights with a scale of its own.

Rows of weights are quantised once, rows of activations as they come. Scales by row keep an outlier's damage
to its token, and both scales are plain factors of the product's rows and columns. Hopper multiplies fp8 at
twice the rate of bf16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streaming.modules.causal_model import CausalWanModel, WanBlock

FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FP8).max  # 448
_SMALLEST_SCALE = 1e-12  # a row of zeros divides by something


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (..., K) -> fp8 values of the same shape and float32 scales (..., 1); x is about values * scales."""
    scales = (x.abs().amax(dim=-1, keepdim=True).float() / _LARGEST).clamp_min(_SMALLEST_SCALE)
    return (x.float() / scales).clamp(-_LARGEST, _LARGEST).to(FP8), scales


class Fp8Linear(nn.Module):
    """In place of an nn.Linear whose widths are multiples of 16. For running only: it has no gradient."""

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if linear.in_features % 16 or linear.out_features % 16:
            raise ValueError(
                "fp8 needs widths that are multiples of 16, "
                f"got {linear.in_features} -> {linear.out_features}"
            )
        weight, scales = quantised(linear.weight.detach())
        self.register_buffer("weight", weight)  # (N, K) fp8
        self.register_buffer("scales", scales)  # (N, 1) float32
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) -> (..., N), both in bf16 (or, without a GPU, any dtype)."""
        rows, scales = quantised(x.flatten(0, -2))
        if x.is_cuda:
            out = torch.ops.aten._scaled_mm(
                rows,
                self.weight.t(),
                scale_a=scales,
                scale_b=self.scales.t(),
                out_dtype=x.dtype,
                use_fast_accum=True,
            )
        else:  # the same product, exactly
            out = (F.linear(rows.float(), self.weight.float()) * scales * self.scales.t()).to(x.dtype)
        out = out.unflatten(0, x.shape[:-1])
        return out if self.bias is None else out + self.bias  # joins what follows where that is compiled


@torch.no_grad()
def use_fp8(model: CausalWanModel) -> None:
    """Exchange the large products of all blocks, those of the branch too: self-attention's, the queries and
    output of cross-attention, the FFN. What is small or made once a prompt stays as it is."""
    for block in model.modules():
        if not isinstance(block, WanBlock):
            continue
        attention = block.self_attn
        projections = ("q", "k", "v", "o") if attention.qkv is None else ("qkv", "o")
        for owner, names in (
            (attention, projections),
            (block.cross_attn, ("q", "o")),
            (block.ffn, ("0", "2")),
        ):
            for name in names:
                setattr(owner, name, Fp8Linear(getattr(owner, name)))
