"""Generate here, keep the camera there."""

import numpy as np
import pytest
import torch

from streaming.api import DistanceRegion
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
    assert (made.share[0, :, :, 0][painted] == 1).all()


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
    share = region(right_half()).share[0, 0, :, 0]
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
    share = made.share[0, height // 2, :, 0]
    assert abs(int(((share > 0) & (share < 1)).sum()) - border) <= 1


# --- by distance


def walking(frames: int = 12) -> torch.Tensor:
    """Depth (T, H, W): someone near, 0.8, who goes 4 pixels a frame to the right before a wall at 0.2."""
    depth = torch.full((frames, HEIGHT, WIDTH), 2 * 0.2 - 1)
    for frame in range(frames):
        depth[frame, 20:80, 20 + 4 * frame : 60 + 4 * frame] = 2 * 0.8 - 1
    return depth


BORDER = 2 + HEIGHT // 24


def inner(box: tuple[int, int, int, int], by: int) -> tuple[slice, slice]:
    top, bottom, left, right = box
    return slice(top + by, bottom - by), slice(left + by, right - by)


def test_a_distance_region_follows_whoever_is_near_frame_by_frame() -> None:
    near = RegionMask.of_depth(walking(), DistanceRegion(0.5))
    camera, generated = torch.full((12, 3, HEIGHT, WIDTH), -1.0), torch.ones(12, HEIGHT, WIDTH, 3)
    shown = near.composite(generated, camera)[..., 0]
    for frame in range(12):
        box = (20, 80, 20 + 4 * frame, 60 + 4 * frame)
        assert (shown[frame][inner(box, BORDER)] == 1).all()
        outside = shown[frame].clone()
        outside[inner(box, -BORDER)] = 0
        assert not outside.any(), "the camera's own picture"
        painted = torch.zeros(HEIGHT, WIDTH)
        painted[inner(box, 0)] = 1
        assert (near.paint[0, 0, frame] != painted).sum() <= 4, "all but the corners"


def test_pieces_of_a_chunk_have_their_own_frames_of_the_region() -> None:
    near = RegionMask.of_depth(walking(), DistanceRegion(0.5))
    generated, camera = torch.rand(12, HEIGHT, WIDTH, 3), torch.rand(12, 3, HEIGHT, WIDTH) * 2 - 1
    pieces = [near.composite(generated[n : n + 4], camera[n : n + 4], n) for n in (0, 4, 8)]
    assert torch.equal(torch.cat(pieces), near.composite(generated, camera))


def test_far_is_what_is_not_near() -> None:
    near, far = (RegionMask.of_depth(walking(), DistanceRegion(0.5, side)) for side in ("near", "far"))
    torch.testing.assert_close(far.share, 1 - near.share)
    assert torch.equal(far.paint, 1 - near.paint)


def test_the_edge_takes_as_much_depth_as_was_asked_for() -> None:
    """Half of it on either side, on a floor that rises from 0 to 1."""
    floor = torch.linspace(-1, 1, 1001).expand(1, 50, 1001)
    level = torch.linspace(0, 1, 1001)
    for softness in (0.0, 0.2, 0.6):
        share = RegionMask.of_depth(floor, DistanceRegion(0.5, "near", softness)).share[0, 25, :, 0]
        assert (share.diff() >= -1e-6).all()
        soft = level[(share > 0) & (share < 1)]
        assert soft.max() - soft.min() == pytest.approx(softness, abs=0.01)
        assert share[500] == pytest.approx(0.5, abs=0.35)  # hard, the middle one is on one side


def test_a_brush_and_a_distance_leave_what_lies_in_both() -> None:
    near, drawn = RegionMask.of_depth(walking(), DistanceRegion(0.5)), region(right_half())
    both = near.within(drawn)
    assert torch.equal(both.paint, near.paint * drawn.paint)
    assert torch.equal(both.share, near.share * drawn.share)
    assert near.within(None) is near
    assert not both.share[:, :, : WIDTH // 2 - BORDER].any() and both.share[0, 50, 62, 0] == 0
    assert both.share[11, 50, 80, 0] == 1


@pytest.mark.parametrize("height", [30, 300])
def test_a_mask_that_is_shown_whole_goes_on_over_the_bars(height: int) -> None:
    """With a camera of its aspect: what is kept at its edge is kept beside it."""
    mask = np.zeros((height, 100), np.uint8)
    mask[:, 50:] = 255
    made = RegionMask.of(mask, HEIGHT, WIDTH, "cpu", "fit")
    assert made is not None
    paint = made.paint[0, 0, 0]
    assert (paint[:, : WIDTH // 2 - 1] == 0).all() and (paint[:, WIDTH // 2 + 1 :] == 1).all()
