"""The one place that calls an attention kernel."""

from contextlib import ExitStack
from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Kernel = Literal["auto", "cudnn", "flash"]

_FIRST = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
_chosen = ExitStack()


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Unmasked softmax(q k^T / sqrt(D)) v. q (B, L, N, D), k and v (B, M, N, D); returns (B, L, N, D)."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def prefer(kernel: Kernel) -> None:
    """From now on attention on a GPU tries `kernel` first, in the whole process; "auto": PyTorch's own order.

    What was compiled before keeps its kernel.
    """
    _chosen.close()
    if kernel == "auto":
        return
    # All stay allowed: not every shape suits the preferred one.
    order = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    order = [_FIRST[kernel], *(backend for backend in order if backend != _FIRST[kernel])]
    _chosen.enter_context(sdpa_kernel(order, set_priority=True))
