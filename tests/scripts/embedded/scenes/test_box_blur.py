"""A box blur is the mean of the square around a pixel, of what of it lies in the picture."""

import pytest
import torch
import torch.nn.functional as F

from scripts.embedded.scenes.box_blur import box_blur


@pytest.mark.parametrize(("radius", "times"), [(1, 1), (2, 3), (4, 2)])
def test_one_side_after_the_other_is_the_mean_of_the_square(radius: int, times: int) -> None:
    picture = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    expected = picture
    for _ in range(times):
        expected = F.avg_pool2d(expected, 2 * radius + 1, 1, radius, count_include_pad=False)
    torch.testing.assert_close(box_blur(picture, radius, times=times), expected, rtol=0, atol=1e-6)
