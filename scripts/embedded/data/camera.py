"""Pictures of a camera for training, and their grey levels: rendered scenes, photographs, drawn faces.

camera = camera_pictures(surface, scenes, generator, photographs)     # (B, T, 3, H, W) in [-1, 1]
gray = gray_of(camera)                                                # (B, T, H, W) in [0, 1]
"""

import torch
from torch import Tensor

from scripts.embedded.constants import constant
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.scenes.faces import draw_faces, draw_marks, sample_expressions
from scripts.embedded.scenes.photo import photograph
from scripts.embedded.scenes.procedural import Scenes, Surface
from streaming.frames import LUMA_WEIGHTS

FILMED = 0.35  # share of the clips that show a photograph, where there are any


def camera_pictures(
    surface: Surface, scenes: Scenes, generator: torch.Generator, photographs: Photographs
) -> Tensor:
    """What a camera would have seen of B rendered scenes, (B, T, 3, H, W) in [-1, 1].

    Some of the clips show a photograph instead; faces and marks are drawn over some of either."""
    batch, frames, height, width = surface.distance.shape
    doing = sample_expressions(batch, frames, generator)
    picture = photograph(surface, scenes, generator, expressions=doing) * 0.5 + 0.5
    if len(photographs):
        is_filmed = torch.rand(batch, 1, 1, 1, 1, generator=generator, device=generator.device) < FILMED
        film = photographs.filmed(batch, frames, generator, height=height, width=width)
        picture = torch.where(is_filmed, film, picture)
    picture = draw_marks(draw_faces(picture, generator), generator)
    return picture * 2 - 1


def gray_of(camera: Tensor) -> Tensor:
    """Luma (B, T, H, W) in [0, 1] of RGB (B, T, 3, H, W) in [-1, 1], in 256 levels as a camera has them."""
    weights = constant(LUMA_WEIGHTS, camera.device).view(1, 1, 3, 1, 1)
    return ((camera * 0.5 + 0.5) * weights).sum(2).mul(255).round().div(255)
