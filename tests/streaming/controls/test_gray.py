"""Laws of the gray control: the very levels that a model was trained on."""

import numpy as np
import pytest
import torch

from streaming.controls.gray import ANNOTATED, LUMA, Luma, gray_of
from streaming.frames import LUMA_WEIGHTS, from_uint8, to_uint8


def pixels() -> np.ndarray:
    """(2, 64, 96, 3) uint8, among them the ends and equal channels."""
    drawn = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    drawn[0, :3, 0] = 0, 255, 0
    drawn[0, 0, 1:] = np.arange(95, dtype=np.uint8)[:, None]
    return drawn


@pytest.mark.parametrize("luma", [ANNOTATED, LUMA])
def test_levels_are_opencvs(luma: Luma) -> None:
    """Its fixed-point sum, rounded half up. Checked against OpenCV 5.0, which had no pixel otherwise."""
    given = pixels()
    camera = from_uint8(torch.from_numpy(given)).movedim(-1, 1)
    wanted = (given.astype(np.int64) @ np.array(luma) + 2**14) >> 15
    found = gray_of(camera, luma)
    assert found.shape == (2, 64, 96) and found.dtype == torch.float32
    assert np.array_equal(to_uint8(found).numpy(), wanted)
    assert torch.equal(found, from_uint8(torch.from_numpy(wanted.astype(np.uint8))))


def test_published_weights_saw_red_and_blue_exchanged() -> None:
    assert tuple(reversed(ANNOTATED)) == LUMA and sum(LUMA) == 2**15
    assert np.allclose(np.array(LUMA) / 2**15, LUMA_WEIGHTS, atol=2e-5)
    red = from_uint8(torch.tensor([255, 0, 0], dtype=torch.uint8)).view(1, 3, 1, 1)
    assert to_uint8(gray_of(red)).item() == 29  # 0.114 x 255; by true luma it would be 76
    assert to_uint8(gray_of(red, LUMA)).item() == 76


def test_the_camera_is_left_alone() -> None:
    camera = torch.zeros(1, 3, 4, 4)
    gray_of(camera)
    assert not camera.any()
