"""Muon, by shape: momentum made orthogonal, for whole groups of matrices at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Muon:
    """Momentum made orthogonal, for matrices and for convolutions (all inputs of an output as one row); those
    of one shape go through Newton-Schulz together.

    Source: Muon (Jordan et al. 2024), scaled to AdamW's step size as in Moonlight (Liu et al. 2025). A
    batched form of `torch.optim.Muon`, which takes the matrices one by one.
    """

    def __init__(
        self, matrices: Sequence[nn.Parameter], *, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        shapes: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            shapes.setdefault(matrix.shape, []).append(matrix)
        self._groups = list(shapes.values())
        self.momenta = [
            group[0].new_zeros(len(group), len(group[0]), group[0][0].numel()) for group in self._groups
        ]
        self._momentum, self._decay = momentum, weight_decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self._groups, self.momenta, strict=True):
            gradient = torch.stack([p.grad.flatten(1) for p in group if p.grad is not None])
            momentum.lerp_(gradient, 1 - self._momentum)
            update = _orthogonal(gradient.lerp(momentum, self._momentum))
            update.mul_(rate * 0.2 * max(update.shape[1:]) ** 0.5)
            for p, change in zip(group, update.to(group[0].dtype), strict=True):
                p.mul_(1 - rate * self._decay).sub_(change.view(p.shape))


def _orthogonal(matrices: Tensor) -> Tensor:
    """(N, r, c) -> about the nearest orthogonal ones, by five quintic Newton-Schulz steps."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if is_tall else x).float()
