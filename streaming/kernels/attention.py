"""Attention kernels: the one place that calls them. Which one a network calls is handed to its blocks."""

import importlib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Kernel = Literal["auto", "cudnn", "flash", "fa3"]
AttentionKernel = Callable[[Tensor, Tensor, Tensor], Tensor]  # as `attend`

HOPPER = (9, 0)  # compute capability
FP8_SCALE = 4.0  # fp8 operands hold this times their value: up to 112, and full precision down to 1/256
_FP8 = torch.float8_e4m3fn
_FIRST = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
_TILE = 128  # queries that a multiprocessor takes at a time in FlashAttention-3
_LONG = 2048  # keys from which on splitting them pays
_WAVES = 2  # rounds of the multiprocessors over the queries that are left after whole rounds


def attention_kernel(name: Kernel) -> AttentionKernel:
    """The kernel to be handed to a network's blocks. "auto" is `attend`, in PyTorch's own order of kernels;
    "cudnn" and "flash" try that one first on a GPU; "fa3" is FlashAttention-3 (Hopper, bfloat16 and fp8).

    Raises ImportError where the package for "fa3" is missing or does not go with this PyTorch.
    """
    if name == "fa3":
        importlib.import_module("fa3_fwd._C")  # registers torch.ops.fa3_fwd
        return attend_fa3
    if name == "auto":
        return attend
    # All stay allowed: not every shape suits the preferred one.
    order = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return partial(_attend_in_order, [_FIRST[name], *(kernel for kernel in order if kernel != _FIRST[name])])


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Unmasked softmax(q k^T / sqrt(D)) v. q (B, L, N, D), k and v (B, M, N, D), all of one floating-point
    type; returns (B, L, N, D)."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def attend_fa3(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `attend`, by FlashAttention-3 where that knows device and type. In fp8 (e4m3, each FP8_SCALE times
    its value) the result is bfloat16."""
    if q.is_cuda and q.dtype in (torch.bfloat16, _FP8):
        return _in_whole_rounds(q, k, v)
    return attend(q, k, v)


def _attend_in_order(order: list[SDPBackend], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's order is the process's: it is another one during this call, and for nobody else."""
    with sdpa_kernel(order, set_priority=True):
        return attend(q, k, v)


def can_use_fa3(device: torch.device) -> bool:
    """Whether "fa3" runs there: a Hopper card, and its package installed."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability(device) != HOPPER:
        return False
    try:
        importlib.import_module("fa3_fwd._C")
    except (ImportError, OSError):  # missing, or made for another PyTorch or CUDA
        return False
    return True


def _in_whole_rounds(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Whole rounds of all multiprocessors first; the queries left over would keep a few of them busy while
    the others wait, so these have their keys split between several.

    4680 queries of 12 heads are 444 tiles, 3.4 rounds of 132. To 18720 keys they take 0.75 ms so, 0.85 as
    one call (H200).
    """
    batch, length, heads, _ = q.shape
    out = torch.empty(q.shape, device=q.device, dtype=torch.bfloat16)
    processors = _processors(q.device)
    in_a_row = batch * heads
    rounds = length // _TILE * in_a_row // processors
    whole = rounds * processors // in_a_row * _TILE
    if k.shape[1] < _LONG or not 0 < whole < length:
        _call(q, k, v, out, 1)
        return out
    _call(q[:, :whole], k, v, out[:, :whole], 1)
    left = -(-(length - whole) // _TILE) * in_a_row
    _call(q[:, whole:], k, v, out[:, whole:], max(1, _WAVES * processors // left))
    return out


def _call(q: Tensor, k: Tensor, v: Tensor, out: Tensor, splits: int) -> None:
    """One call of the operator; what is None are features that are of no use here."""
    unscale = (_unscale(q.device, k.shape[0], k.shape[2]),) * 3 if q.dtype == _FP8 else (None,) * 3
    torch.ops.fa3_fwd.fwd(
        *(q, k, v, None, None, None, out),
        *(None,) * 13,
        *unscale,
        q.shape[-1] ** -0.5,
        *(False, -1, -1, 0, 0.0, True, None),  # causal, window, chunk, soft cap, rotary, schedule
        splits,
        None,
        0,
    )


@lru_cache(maxsize=8)
def _unscale(device: torch.device, batch: int, heads: int) -> Tensor:
    return torch.full((batch, heads), 1 / FP8_SCALE, device=device)


@lru_cache(maxsize=8)
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
