"""Floating-point type that the models run in on a device."""

from typing import get_args

import torch

from streaming.api import Precision


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and on a CPU that multiplies its matrices in hardware, else float32.

    Raises ValueError for another name.
    """
    match precision:
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16
        case "auto":
            narrow = device.type == "cuda" or (device.type == "cpu" and _has_matrix_units())
            return torch.bfloat16 if narrow else torch.float32
        case _:
            raise ValueError(f"precision must be {', '.join(get_args(Precision))}, got {precision!r}")


def _has_matrix_units() -> bool:
    """Whether this CPU has AMX for bfloat16. With it the built-in model takes half the time; with AVX-512's
    bfloat16 alone it gains nothing, and without both it takes many times as long."""
    # Older releases of torch cannot tell; they are as fast as they were.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
