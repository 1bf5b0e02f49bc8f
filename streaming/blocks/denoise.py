"""Few-step sampling of one chunk. Knows no model: `predict_flow` brings the text, the hints and the past."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming.api import NoiseFormula
from streaming.config import MAX_TIMESTEP, SamplerConfig
from streaming.modules.scheduler import FlowMatchSchedule, add_noise, x0_from_flow


@dataclass(frozen=True, slots=True)
class DenoisingStep:
    """One forward and what it says of the clean chunk; flow and x0 are (B, F, C, H, W)."""

    timestep: float
    flow: Tensor
    x0: Tensor


class Denoiser:
    """The step list of a sampler, resolved to timesteps and sigmas once."""

    def __init__(self, config: SamplerConfig) -> None:
        self._schedule = schedule = FlowMatchSchedule(shift=config.timestep_shift)
        steps = config.denoising_step_list
        warped = schedule.warp(steps) if config.warp_denoising_step else schedule.sigmas.new_tensor(steps)
        self.timesteps: tuple[float, ...] = tuple(warped.tolist())
        self.sigmas: tuple[float, ...] = tuple(schedule.sigma(warped).tolist())

    def from_camera(self, noise_scale: float, formula: NoiseFormula) -> "Denoiser":
        """The steps for a chunk that starts at (1 - n) z + n noise, z its camera's latents, n `noise_scale`.

        "exact": steps whose sigma is above n are dropped, and the first is at sigma n itself; the less noise,
        the fewer steps. "published", as StreamDiffusionV2 does: the first timestep becomes 1000 n - 100 and
        the others stay, also those above it, which take most of the camera away again: give steps that fit.
        """
        cut = copy(self)
        if formula == "exact":
            left = [index for index, sigma in enumerate(self.sigmas) if sigma < noise_scale]
            cut.sigmas = (noise_scale, *(self.sigmas[index] for index in left))
            cut.timesteps = (noise_scale * MAX_TIMESTEP, *(self.timesteps[index] for index in left))
        else:
            first = float(int(MAX_TIMESTEP * noise_scale) - 100)
            cut.timesteps = (first, *self.timesteps[1:])
            cut.sigmas = (self._schedule.sigma(torch.tensor(first)).item(), *self.sigmas[1:])
        return cut

    def __call__(
        self,
        predict_flow: Callable[[Tensor, float, float], Tensor],
        start: Tensor,
        fresh_noise: Callable[[], Tensor],
    ) -> Iterator[DenoisingStep]:
        """Yield every step; the last one's x0 is the chunk. `start`: pure noise, or see `from_camera`.

        `predict_flow` takes the noisy latents, their timestep and their sigma. `fresh_noise` is called
        between steps, never after the last: the model was distilled with new noise each time.
        """
        xt = x0 = start
        for index, (timestep, sigma) in enumerate(zip(self.timesteps, self.sigmas, strict=True)):
            if index:
                xt = add_noise(x0, fresh_noise(), sigma)
            flow = predict_flow(xt, timestep, sigma)
            x0 = x0_from_flow(flow, xt, sigma)
            yield DenoisingStep(timestep, flow, x0)
