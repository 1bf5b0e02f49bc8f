"""Dice of a photograph: what its scene does not say is drawn from one generator, in a fixed order."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.constants import constant


@dataclass(frozen=True, slots=True)
class Dice:
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device) * (high - low) + low

    def scale(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def chance(self, p: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device) < p

    def pick(self, count: int, *shape: int) -> Tensor:
        return torch.randint(count, shape, generator=self.generator, device=self.device)

    def colour(self, *shape: int) -> Tensor:
        """Linear RGB (..., 3): mostly dull, now and then loud."""
        hue, value = self.uniform(0, 6, *shape, 1), self.uniform(0.0, 1.0, *shape, 1) ** 1.5 * 0.92 + 0.02
        saturation = self.uniform(0, 1, *shape, 1) ** 2.5
        turned = (hue + constant((0.0, 4.0, 2.0), self.device)) % 6
        return value * (1 - saturation + saturation * ((turned - 3).abs() - 1).clamp(0, 1))

    def among(self, colours: tuple[tuple[float, float, float], ...], count: int) -> Tensor:
        """(count, 3): between two neighbours of the list."""
        table = constant(colours, self.device)
        at = self.uniform(0, len(colours) - 1.001, count)
        share = (at % 1)[:, None]
        return table[at.long()] * (1 - share) + table[at.long() + 1] * share
