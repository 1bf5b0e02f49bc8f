"""Few-step sampling of one chunk. Knows no model: `predict_flow` brings the text, the hints and the past."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from streaming.config import SamplerConfig
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
        schedule = FlowMatchSchedule(shift=config.timestep_shift)
        steps = config.denoising_step_list
        warped = schedule.warp(steps) if config.warp_denoising_step else schedule.sigmas.new_tensor(steps)
        self.timesteps: tuple[float, ...] = tuple(warped.tolist())
        self.sigmas: tuple[float, ...] = tuple(schedule.sigma(warped).tolist())

    def __call__(
        self,
        predict_flow: Callable[[Tensor, float, float], Tensor],
        noise: Tensor,
        fresh_noise: Callable[[], Tensor],
    ) -> Iterator[DenoisingStep]:
        """Yield every step; the last one's x0 is the chunk.

        `predict_flow` takes the noisy latents, their timestep and their sigma. `fresh_noise` is called
        between steps, never after the last: the model was distilled with new noise each time.
        """
        xt = x0 = noise
        for index, (timestep, sigma) in enumerate(zip(self.timesteps, self.sigmas, strict=True)):
            if index:
                xt = add_noise(x0, fresh_noise(), sigma)
            flow = predict_flow(xt, timestep, sigma)
            x0 = x0_from_flow(flow, xt, sigma)
            yield DenoisingStep(timestep, flow, x0)
