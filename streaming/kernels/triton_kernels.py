"""Kernels between the transformer's products, each one pass over memory: norms with modulation and
gated residuals, norm and rotation of queries and keys with the write into the ring, GELU on the way to fp8.

Needs a GPU (or TRITON_INTERPRET=1). Everything is computed in float32 and rounded to the tensors' type
wherever the plain modules round, so that numbers are theirs. Rows are tokens. With `quantised`, results are
fp8 with a scale by row, see `streaming.kernels.fp8`.
"""

# pyright: reportIndexIssue=false
# What Triton makes of a function has no type here: a launch is kernel[grid](...).

import torch
import triton  # pyright: ignore[reportMissingImports] comes with torch's builds for a GPU
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from streaming.kernels.attention import FP8_SCALE
from streaming.kernels.fp8 import FP8, LARGEST, SMALLEST_SCALE, Quantised

SHIFT_SA, SCALE_SA, GATE_SA, SHIFT_FFN, SCALE_FFN, GATE_FFN = range(6)  # rows of a modulation
_LARGEST, _SMALLEST = tl.constexpr(LARGEST), tl.constexpr(SMALLEST_SCALE)


@triton.jit
def _rounded(x, like):
    """As if stored in the type of `like` and loaded again."""
    return x.to(like.dtype.element_ty).to(tl.float32)


@triton.jit
def _store_row(y, out, scales, row, columns, inside, WIDTH: tl.constexpr):
    """y as it is, or in fp8 where there are `scales`."""
    if scales is not None:
        scale = tl.maximum(tl.max(tl.abs(y), 0) / _LARGEST, _SMALLEST)
        tl.store(scales + row, scale)
        y = tl.minimum(tl.maximum(y / scale, -_LARGEST), _LARGEST)
    tl.store(out + row * WIDTH + columns, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _modulation(own, shared, latent, part: tl.constexpr, columns, inside, WIDTH: tl.constexpr):
    """A layer's own modulation plus that of the timestep."""
    a = tl.load(own + part * WIDTH + columns, mask=inside, other=0).to(tl.float32)
    b = tl.load(shared + (latent * 6 + part) * WIDTH + columns, mask=inside, other=0).to(tl.float32)
    return _rounded(a + b, shared)


@triton.jit
def _residual(x, y, own, shared, row, latent, columns, inside, GATE: tl.constexpr, WIDTH: tl.constexpr):
    """A row of x + y, y times its gate if there is one."""
    at = row * WIDTH + columns
    value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
    added = tl.load(y + at, mask=inside, other=0).to(tl.float32)
    if GATE is not None:
        added = _rounded(added * _modulation(own, shared, latent, GATE, columns, inside, WIDTH), x)
    return _rounded(value + added, x)


@triton.jit
def _norm_kernel(
    x, y, sum_out, out, scales, own, shared, weight, bias, per_latent, eps,
    GATE: tl.constexpr, SHIFT: tl.constexpr, SCALE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    latent = row // per_latent
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    if y is not None:
        value = _residual(x, y, own, shared, row, latent, columns, inside, GATE, WIDTH)
        tl.store(sum_out + row * WIDTH + columns, value.to(sum_out.dtype.element_ty), mask=inside)
    else:
        value = tl.load(x + row * WIDTH + columns, mask=inside, other=0).to(tl.float32)
    mean = tl.sum(value, 0) / WIDTH
    centred = tl.where(inside, value - mean, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / WIDTH + eps)
    if weight is not None:
        w = tl.load(weight + columns, mask=inside, other=0).to(tl.float32)
        b = tl.load(bias + columns, mask=inside, other=0).to(tl.float32)
        normed = _rounded(normed * w + b, x)
    else:
        normed = _rounded(normed, x)
    if SCALE is not None:
        grown = _rounded(1 + _modulation(own, shared, latent, SCALE, columns, inside, WIDTH), x)
        shift = _modulation(own, shared, latent, SHIFT, columns, inside, WIDTH)
        normed = _rounded(_rounded(normed * grown, x) + shift, x)
    _store_row(normed, out, scales, row, columns, inside, WIDTH)


@triton.jit
def _gated_kernel(
    x, y, out, own, shared, per_latent, GATE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    value = _residual(x, y, own, shared, row, row // per_latent, columns, inside, GATE, WIDTH)
    tl.store(out + row * WIDTH + columns, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _rms(x, weight, like, at, inside, eps, WIDTH: tl.constexpr):
    """x (heads, head size), normalised over both, times its weight."""
    length = tl.sum(tl.sum(x * x, 1), 0) / WIDTH
    w = tl.load(weight + at, mask=inside, other=0).to(tl.float32)
    return _rounded(_rounded(x * tl.rsqrt(length + eps), like) * w, like)


@triton.jit
def _rotated(x, rotation, HEADS: tl.constexpr, SIZE: tl.constexpr):
    """x (heads, head size), neighbours as complex numbers, times `rotation` (head size / 2, 2)."""
    pair = tl.arange(0, SIZE // 2)
    cos, sin = tl.load(rotation + 2 * pair)[None, :], tl.load(rotation + 2 * pair + 1)[None, :]
    real, imaginary = tl.split(tl.reshape(x, (HEADS, SIZE // 2, 2)))
    rotated = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    return tl.reshape(rotated, (HEADS, SIZE))


@triton.jit
def _project_kernel(
    qkv, weight_q, weight_k, rotation, slots, q_out, k_out, v_out, length, room, skip, eps, by,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    token = row % length
    at = tl.arange(0, HEADS)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    inside = at < WIDTH
    base, rotation = qkv + row * 3 * WIDTH, rotation + token * SIZE
    q = tl.load(base + at, mask=inside, other=0).to(tl.float32)
    q = _rotated(_rms(q, weight_q, qkv, at, inside, eps, WIDTH), rotation, HEADS, SIZE)
    tl.store(q_out + row * WIDTH + at, (q * by).to(q_out.dtype.element_ty), mask=inside)
    if token >= skip:  # else its slot is protected
        slot = tl.load(slots + token - skip) if slots is not None else token
        target = (row // length * room + slot) * WIDTH + at
        k = tl.load(base + WIDTH + at, mask=inside, other=0).to(tl.float32)
        k = _rotated(_rms(k, weight_k, qkv, at, inside, eps, WIDTH), rotation, HEADS, SIZE)
        tl.store(k_out + target, (k * by).to(k_out.dtype.element_ty), mask=inside)
        v = tl.load(base + 2 * WIDTH + at, mask=inside, other=0).to(tl.float32) * by
        tl.store(v_out + target, v.to(v_out.dtype.element_ty), mask=inside)


@triton.jit
def _rms_kernel(x, weight, out, eps, WIDTH: tl.constexpr, HEADS: tl.constexpr, SIZE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, HEADS)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    inside = at < WIDTH
    value = tl.load(x + row * WIDTH + at, mask=inside, other=0).to(tl.float32)
    value = _rms(value, weight, x, at, inside, eps, WIDTH)
    tl.store(out + row * WIDTH + at, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gelu_kernel(x, out, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    value = tl.load(x + row * WIDTH + columns, mask=inside, other=0).to(tl.float32)
    inner = 0.7978845608028654 * (value + 0.044715 * value * value * value)
    tanh = 1 - 2 / (tl.exp(2 * inner) + 1)
    _store_row(_rounded(0.5 * value * (1 + tanh), x), out, scales, row, columns, inside, WIDTH)


@triton.jit
def _scaled_kernel(x, by, out, count, HINTS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count, other=0).to(tl.float32) * tl.load(by)
    for hint in tl.static_range(1, HINTS):
        value += tl.load(x + hint * count + at, mask=at < count, other=0).to(tl.float32) * tl.load(by + hint)
    tl.store(out + at, value.to(out.dtype.element_ty), mask=at < count)


def norm(
    x: Tensor,
    *,
    eps: float,
    add: Tensor | None = None,
    gate: int | None = None,
    modulation: tuple[Tensor, Tensor] | None = None,
    shift: int | None = None,
    scale: int | None = None,
    affine: tuple[Tensor, Tensor] | None = None,
    quantised: bool = False,
) -> tuple[Tensor, Tensor | Quantised]:
    """x (B, L, E), plus `add` times `gate` where given; and that sum's LayerNorm, then `affine` (weight and
    bias) or modulated by `shift` and `scale`.

    `modulation` is a layer's own (1, 6, E) and the timestep's (B, F, 6, E); `gate`, `shift`, `scale` name
    rows of it.
    """
    rows, width = x.flatten(0, -2).shape
    own, shared = modulation or (None, None)
    weight, bias = affine or (None, None)
    out, scales = _room(x, quantised)
    total = x if add is None else torch.empty_like(x)
    _norm_kernel[(rows,)](
        x, add, total, out, scales, own, shared, weight, bias, _per_latent(rows, shared), eps,
        gate, shift, scale, width, triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return total, out if scales is None else Quantised(out, scales)


def add_gated(x: Tensor, y: Tensor, gate: int, modulation: tuple[Tensor, Tensor]) -> Tensor:
    """x + y times row `gate` of the modulation; both (B, L, E)."""
    rows, width = x.flatten(0, -2).shape
    out, (own, shared) = torch.empty_like(x), modulation
    _gated_kernel[(rows,)](
        x, y, out, own, shared, _per_latent(rows, shared), gate,
        width, triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return out


def normed_rotated(
    qkv: Tensor,
    weights: tuple[Tensor, Tensor],
    rotation: Tensor,
    *,
    heads: int,
    eps: float,
    dtype: torch.dtype,
    ring: tuple[Tensor, Tensor] | None = None,
    slots: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Products qkv (B, L, 3 E) -> queries and keys, RMS-normalised and rotated by `rotation` (L, D/2, 2), and
    values; each (B, L, N, D) as `attend` takes them in `dtype`. With a `ring` of keys and values, each
    (B, slots, N, D), the newest tokens' go to their `slots` in it, and the ring is returned in place of
    them."""
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    shape = (batch, length, heads, width // heads)
    q = qkv.new_empty(shape, dtype=dtype)
    k, v = ring or (torch.empty_like(q), torch.empty_like(q))
    skip = 0 if slots is None else length - slots.shape[0]
    by = FP8_SCALE if dtype == FP8 else 1.0
    _project_kernel[(batch * length,)](
        qkv, *weights, rotation, slots, q, k, v, length, k.shape[1], skip, eps, by,
        width, triton.next_power_of_2(heads), width // heads, num_warps=4,
    )  # fmt: skip
    return q, k, v


def scaled(hint: Tensor, scale: float | Tensor) -> Tensor:
    """As `BlockParts.scaled`."""
    by = torch.as_tensor(scale, device=hint.device, dtype=torch.float32)
    hints = len(by) if by.ndim else 1
    out = hint.new_empty(len(hint) // hints, *hint.shape[1:])
    _scaled_kernel[(triton.cdiv(out.numel(), 4096),)](hint.contiguous(), by, out, out.numel(), hints, 4096)
    return out


def rms_norm(x: Tensor, weight: Tensor, *, heads: int, eps: float) -> Tensor:
    """x (B, L, E) over its whole width -> (B, L, N, D)."""
    rows, width = x.flatten(0, -2).shape
    out = torch.empty_like(x)
    _rms_kernel[(rows,)](
        x, weight, out, eps, width, triton.next_power_of_2(heads), width // heads, num_warps=4
    )
    return out.unflatten(-1, (heads, -1))


def gelu_quantised(x: Tensor) -> Quantised:
    """GELU (by tanh) of x (B, L, E) in fp8."""
    rows, width = x.flatten(0, -2).shape
    out, scales = _room(x, quantised=True)
    assert scales is not None
    _gelu_kernel[(rows,)](x, out, scales, width, triton.next_power_of_2(width), num_warps=16)
    return Quantised(out, scales)


def _room(x: Tensor, quantised: bool) -> tuple[Tensor, Tensor | None]:
    """Memory for a result as x, and its scales if it is to be fp8."""
    if not quantised:
        return torch.empty_like(x), None
    scales = torch.empty(*x.shape[:-1], 1, device=x.device, dtype=torch.float32)
    return torch.empty(x.shape, device=x.device, dtype=FP8), scales


def _per_latent(rows: int, shared: Tensor | None) -> int:
    """Tokens that one row of the timestep's modulation is for."""
    return 1 if shared is None else rows // (shared.shape[0] * shared.shape[1])
