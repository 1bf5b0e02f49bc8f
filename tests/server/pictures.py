"""For tests: generated pictures with nothing special about them but what a test says."""

import numpy as np

from server.protocol.requests import WeightedPrompt
from server.session.parameters import Parameters
from server.session.picture import Picture

CLAY = Parameters(prompts=(WeightedPrompt(text="clay"),), seed=3, current_seed=3)


def picture(value: int = 0, **fields: object) -> Picture:
    """A flat picture of that grey; `fields` are some of Picture's."""
    plain = {
        "rgb": np.full((48, 64, 3), value, np.uint8),
        "chunk": 0,
        "frame": 0,
        "sequence": 1,
        "captured": 0.0,
        "made": 0.0,
        "source": None,
        "parameters": CLAY,
        "guidance_scale": 1.0,
        "noise_scale": 1.0,
    }
    return Picture(**(plain | fields))
