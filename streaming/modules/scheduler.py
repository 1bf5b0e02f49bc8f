"""Flow matching: sigma is the noise level 0 ... 1, timestep is 1000 sigma, xt = (1 - sigma) x0 + sigma noise.

Source: the FlowMatchScheduler of Self-Forcing and LongLive, inference part.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor


def x0_from_flow(flow: Tensor, xt: Tensor, sigma: Tensor | float) -> Tensor:
    """Clean estimate xt - sigma * flow, in float64: near sigma 1 a low-precision subtraction loses the
    detail."""
    return (xt.double() - sigma * flow.double()).to(xt.dtype)


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
    """(1 - sigma) x0 + sigma noise, rounded once to the dtype of the noise."""
    wide = torch.promote_types(noise.dtype, torch.float32)
    return ((1 - sigma) * x0.to(wide) + sigma * noise.to(wide)).to(noise.dtype)


class FlowMatchSchedule:
    """The training table of sigmas, shifted towards noise: sigma = shift u / (1 + (shift - 1) u)."""

    def __init__(self, *, shift: float, num_train_timesteps: int = 1000) -> None:
        self.num_train_timesteps = num_train_timesteps
        u = torch.linspace(1.0, 0.0, num_train_timesteps + 1)[:num_train_timesteps]
        self.sigmas = shift * u / (1 + (shift - 1) * u)  # (num_train_timesteps,) float32, falling

    @cached_property
    def timesteps(self) -> Tensor:
        """(num_train_timesteps,) float32, falling from 1000."""
        return self.sigmas * self.num_train_timesteps

    def timestep_ids(self, timestep: Tensor) -> Tensor:
        """Index of the table entry nearest to each timestep, int64, same shape."""
        table = self.timesteps.to(timestep.device)
        return (table - timestep.float()[..., None]).abs().argmin(-1)

    def sigma(self, timestep: Tensor) -> Tensor:
        """Sigma of the nearest table entry, float32, same shape."""
        return self.sigmas.to(timestep.device)[self.timestep_ids(timestep)]

    def warp(self, steps: Sequence[int]) -> Tensor:
        """Nominal steps (1000, 750, ...) -> the shifted timesteps the model was distilled on, float32."""
        table = torch.cat([self.timesteps, self.timesteps.new_zeros(1)])
        return table[self.num_train_timesteps - torch.tensor(list(steps))]
