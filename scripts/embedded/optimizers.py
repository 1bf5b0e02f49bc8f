"""The optimizers of every stage: Muon for the matrices between features, AdamW for all other parameters."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

NEWTON_SCHULZ_STEPS = 5  # of Muon


class Optimizers:
    """Muon for `matrices`, which are among `parameters`, and AdamW for the others."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        matrices: Iterable[nn.Parameter] = (),
        *,
        adam_rate: float,
        adam_decay: float,
        muon_rate: float = 0.0,
        muon_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        chosen = {id(matrix) for matrix in matrices}
        others = [p for p in self.parameters if id(p) not in chosen]
        self._rates = muon_rate, adam_rate
        self._muon = Muon([p for p in self.parameters if id(p) in chosen], weight_decay=muon_decay)
        self._adam = torch.optim.AdamW(
            others, lr=adam_rate, betas=(0.9, 0.98), weight_decay=adam_decay, fused=others[0].is_cuda
        )

    def step(self, factor: float) -> None:
        """Change all parameters by their gradients, at `factor` times the learning rates."""
        muon_rate, adam_rate = self._rates
        self._muon.step(muon_rate * factor)
        for group in self._adam.param_groups:
            group["lr"] = adam_rate * factor
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments by name: muon.N and adam.N.KEY."""
        state = {f"muon.{n}": momentum for n, momentum in enumerate(self._muon.momenta)}
        for index, moments in self._adam.state_dict()["state"].items():
            state |= {f"adam.{index}.{key}": value for key, value in moments.items()}
        return state

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the moments among `tensors`; of a checkpoint without any they stay zero."""
        adam: dict[int, dict[str, Tensor]] = {}
        for n, momentum in enumerate(self._muon.momenta):
            if (saved := tensors.get(f"muon.{n}")) is not None:
                momentum.copy_(saved)
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, index, key = name.split(".")
                adam.setdefault(int(index), {})[key] = value.float()
        if adam:
            self._adam.load_state_dict(self._adam.state_dict() | {"state": adam})


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
    """(N, r, c) -> about the nearest orthogonal ones, by quintic Newton-Schulz steps."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if is_tall else x).float()
