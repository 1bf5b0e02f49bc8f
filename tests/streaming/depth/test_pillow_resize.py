"""The tensor resize gives Pillow's pictures: every level of every pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from streaming.depth.pillow_resize import RESAMPLING, pillow_resize, resize_tensor

SIZES = [
    ((48, 83), (70, 98)),
    ((60, 90), (17, 14)),
    ((33, 47), (33, 20)),
    ((5, 4), (7, 1)),
    ((20, 20), (20, 20)),
    ((50, 40), (10, 30)),  # from here on, Pillow 13 resizes the height first
    ((60, 30), (30, 60)),
    ((64, 48), (38, 38)),
    ((41, 30), (20, 20)),  # 21 rows, 10 columns
    ((40, 30), (20, 20)),  # 20 rows, 10 columns: not over twice as many
]


@pytest.mark.parametrize("resample", RESAMPLING)
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_every_level_is_that_of_pillow(before, after, resample):
    picture = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    height, width = after
    expected = np.asarray(Image.fromarray(picture).resize((width, height), resample))
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]
    for resize in (pillow_resize, resize_tensor):
        resized = resize(planes, height, width, resample)
        assert resized.dtype == torch.uint8
        assert np.array_equal(resized[0].permute(1, 2, 0).numpy(), expected)


def test_hard_edges_overshoot_no_further_than_black_and_white():
    picture = np.zeros((12, 12), np.uint8)
    picture[3:8, 4:9] = 255
    expected = np.asarray(Image.fromarray(picture).resize((31, 29), Image.Resampling.BICUBIC))
    for resize in (pillow_resize, resize_tensor):
        resized = resize(torch.from_numpy(picture), 29, 31, Image.Resampling.BICUBIC)
        assert np.array_equal(resized.numpy(), expected)


@pytest.mark.parametrize("resize", [pillow_resize, resize_tensor])
def test_a_way_of_resampling_that_is_not_known_is_refused(resize):
    with pytest.raises(KeyError):
        resize(torch.zeros(1, 4, 4, dtype=torch.uint8), 2, 2, Image.Resampling.LANCZOS)
