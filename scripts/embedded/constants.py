"""Numbers that stay on the device."""

from functools import lru_cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


@lru_cache(maxsize=512)
def constant(values: Numbers, device: torch.device) -> Tensor:
    """float32; never to be written to.

    `torch.tensor(..., device=...)` waits until the device has done all that was asked of it before: a
    renderer that does so a hundred times a batch leaves a GPU idle between two small kernels.
    """
    return torch.tensor(values, dtype=torch.float32, device=device)
