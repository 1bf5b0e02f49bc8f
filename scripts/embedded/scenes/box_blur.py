"""Box blur of pictures, one side after the other: it costs as much as the radius, not as its square."""

import torch.nn.functional as F
from torch import Tensor


def box_blur(picture: Tensor, radius: int, *, times: int) -> Tensor:
    """(N, C, H, W) -> the same shape, each pixel the mean of those within `radius` that lie in the picture.

    `times`: as often as this is repeated; three are nearly a Gaussian.
    """
    side = 2 * radius + 1
    for _ in range(times):
        picture = F.avg_pool2d(picture, (1, side), 1, (0, radius), count_include_pad=False)
        picture = F.avg_pool2d(picture, (side, 1), 1, (radius, 0), count_include_pad=False)
    return picture
