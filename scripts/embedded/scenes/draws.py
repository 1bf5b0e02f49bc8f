"""Random numbers of a batch of scenes, in the order in which they are asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor

HELD_OUT_SEED = 1_000_000_000  # scenes for judging start here; those for training stay below a million


@dataclass(frozen=True, slots=True)
class Draws:
    """One draw a scene, on the generator's device.

    What a seed shows follows from the order of all draws: a draw that is left out, added or moved makes
    other held-out scenes. So every scene draws for a person, a desk and a ceiling, whether it has one or not.
    """

    batch: int
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) float32 in [low, high)."""
        drawn = torch.rand(self.batch, *shape, generator=self.generator, device=self.device)
        return drawn * (high - low) + low

    def chance(self, p: float, *shape: int) -> Tensor:
        """(B, *shape) bool, true with probability `p`."""
        return torch.rand(self.batch, *shape, generator=self.generator, device=self.device) < p

    def zeros(self, *shape: int) -> Tensor:
        """(B, *shape) float32; draws nothing."""
        return torch.zeros(self.batch, *shape, device=self.device)
