"""Matrix products in fp8: every row of the activations and every row of the weights with a scale of its own.

Rows of weights are quantised once, rows of activations as they come. Scales by row keep an outlier's damage
to its token, and both scales are plain factors of the product's rows and columns. Hopper multiplies fp8 at
twice the rate of bf16.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max  # 448
SMALLEST_SCALE = 1e-12  # a row of zeros divides by something


class Quantised(NamedTuple):
    """About values * scales."""

    values: Tensor  # (..., K) fp8
    scales: Tensor  # (..., 1) float32


def quantised(x: Tensor) -> Quantised:
    """x (..., K), row by row."""
    scales = (x.abs().amax(dim=-1, keepdim=True).float() / LARGEST).clamp_min(SMALLEST_SCALE)
    return Quantised((x.float() / scales).clamp(-LARGEST, LARGEST).to(FP8), scales)


def carried(x: Tensor) -> Tensor:
    """The same memory for what only moves numbers: fp8 as bytes, since not every operation knows the type."""
    return x.view(torch.uint8) if x.element_size() == 1 else x


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
        return self.multiply(quantised(x), x.dtype)

    def multiply(self, x: Quantised, dtype: torch.dtype) -> Tensor:
        """x (..., K) that is quantised already -> (..., N) in `dtype`."""
        rows, scales = x.values.flatten(0, -2), x.scales.flatten(0, -2)
        if rows.is_cuda:
            out = torch.ops.aten._scaled_mm(
                rows,
                self.weight.t(),
                scale_a=scales,
                scale_b=self.scales.t(),
                bias=self.bias,
                out_dtype=dtype,
                use_fast_accum=True,
            )
        else:  # the same product, exactly
            out = F.linear(rows.float(), self.weight.float()) * scales * self.scales.t()
            out = (out if self.bias is None else out + self.bias.float()).to(dtype)
        return out.unflatten(0, x.values.shape[:-1])
