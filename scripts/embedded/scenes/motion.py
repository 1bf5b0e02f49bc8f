"""Motion of a scene: every motion is a sine, given by amplitude, rate (rad/s) and phase (rad)."""

import torch
from torch import Tensor

from scripts.embedded.scenes.draws import Draws


def sample_hand_swing(draw: Draws) -> Tensor:
    """(B, 3 axes, 3) in metres, of one hand; at rest in two scenes of five. The axes share their rate."""
    waves = draw.chance(0.6).float()[:, None]
    amplitude = draw.uniform(0.0, 0.14, 3) * waves
    rate = draw.uniform(0.8, 6.0, 1).expand(-1, 3)
    return torch.stack([amplitude, rate, draw.uniform(0, 6.28, 3)], -1)


def sample_thing_swing(draw: Draws, count: int) -> Tensor:
    """(B, count, 3 axes, 3) in metres; two things of three are at rest."""
    amplitude = draw.uniform(0.0, 0.25, count, 3) * draw.chance(0.35, count, 1)
    return torch.stack([amplitude, draw.uniform(0.3, 2.5, count, 3), draw.uniform(0, 6.28, count, 3)], -1)


def sample_sway(draw: Draws, moves: Tensor) -> Tensor:
    """The person as a whole, (B, 4, 3): shift along x, y, z in metres and roll in radians.

    `moves`: (B,) float32, 0 where nothing does, else 1.
    """
    amplitude = torch.stack(
        [draw.uniform(0, 0.12), draw.uniform(0, 0.03), draw.uniform(0, 0.12), draw.uniform(0, 0.12)], -1
    )
    amplitude = amplitude * moves[:, None]
    return torch.stack([amplitude, draw.uniform(0.2, 2.2, 4), draw.uniform(0, 6.28, 4)], -1)


def sample_pan(draw: Draws, moves: Tensor) -> Tensor:
    """The camera's yaw and pitch, (B, 2, 3) in radians; `moves` as for `sample_sway`."""
    shakes = (draw.chance(0.4).float() * moves)[:, None]
    amplitude = draw.uniform(0, 0.06, 2) * shakes
    return torch.stack([amplitude, draw.uniform(0.2, 2.0, 2), draw.uniform(0, 6.28, 2)], -1)
