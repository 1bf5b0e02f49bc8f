"""Generate here, keep the camera there."""

import numpy as np
import pytest
import torch

from streaming.blocks.region_mask import RegionMask

HEIGHT, WIDTH = 96, 128


def right_half(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def region(mask: np.ndarray) -> RegionMask:
    made = RegionMask.of(mask, HEIGHT, WIDTH, "cpu")
    assert made is not None
    return made


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (HEIGHT, WIDTH), (500, 300)])
def test_a_mask_that_keeps_nothing_is_none(size: tuple[int, int]) -> None:
    assert RegionMask.of(np.full(size, 255, np.uint8), HEIGHT, WIDTH, "cpu") is None


def test_all_that_was_asked_to_be_painted_is_painted() -> None:
    """The soft border lies outside the region, and a stroke thinner than the border is as opaque as a wide
    one."""
    mask = right_half()
    mask[10, 5:40] = 255
    made = region(mask)
    painted = torch.from_numpy(mask == 255)
    assert torch.equal(made.paint[0, 0, 0].bool(), painted)
    assert (made.share[:, :, 0][painted] == 1).all()


def test_outside_is_the_cameras_own_picture_grey_level_by_grey_level() -> None:
    made = region(right_half())
    levels = torch.randint(0, 256, (3, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(0))
    camera = (levels.float() / 127.5 - 1).movedim(-1, 1)
    shown = (made.composite(torch.rand(3, HEIGHT, WIDTH, 3), camera) * 255).round().long()
    border = 2 + HEIGHT // 24
    assert torch.equal(shown[:, :, : WIDTH // 2 - border], levels[:, :, : WIDTH // 2 - border])


def test_inside_is_the_generated_picture_bit_for_bit() -> None:
    generated = torch.rand(2, HEIGHT, WIDTH, 3)
    shown = region(right_half()).composite(generated, torch.zeros(2, 3, HEIGHT, WIDTH))
    assert torch.equal(shown[:, :, WIDTH // 2 :], generated[:, :, WIDTH // 2 :])


def test_the_border_falls_without_a_step() -> None:
    share = region(right_half()).share[0, :, 0]
    falls = share.diff()
    assert (falls >= 0).all() and falls.max() < 0.5
    assert ((share > 0) & (share < 1)).sum() >= 2


def test_a_mask_of_any_size_is_cropped_as_the_camera_is() -> None:
    wide = np.concatenate(
        [np.zeros((HEIGHT, 500), np.uint8), right_half(), np.zeros((HEIGHT, 500), np.uint8)], 1
    )
    assert torch.equal(region(wide).paint, region(right_half()).paint)
    assert torch.equal(region(right_half(2 * HEIGHT, 2 * WIDTH)).paint, region(right_half()).paint)


def test_of_a_picture_the_brightness_counts() -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, WIDTH // 2 :] = (0, 255, 0)  # 150 of 255: bright; blue alone, 29, is dark
    picture[:, : WIDTH // 2] = (0, 0, 255)
    assert torch.equal(region(picture).paint, region(right_half()).paint)


def test_a_masks_array_may_change_afterwards() -> None:
    mask = right_half()
    made = region(mask)
    mask[:] = 0
    assert made.paint.any()


def test_brightness_from_the_middle_on_is_painted() -> None:
    assert RegionMask.of(np.full((8, 8), 128, np.uint8), HEIGHT, WIDTH, "cpu") is None
    assert not region(np.full((8, 8), 127, np.uint8)).paint.any()


@pytest.mark.parametrize(("height", "border"), [(144, 3), (480, 10)])
def test_the_border_grows_with_the_picture(height: int, border: int) -> None:
    made = RegionMask.of(right_half(height, 128), height, 128, "cpu")
    assert made is not None
    share = made.share[height // 2, :, 0]
    assert abs(int(((share > 0) & (share < 1)).sum()) - border) <= 1
