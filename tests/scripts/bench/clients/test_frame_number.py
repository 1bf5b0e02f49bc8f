"""Laws of the frame number: what was stamped is read, also after scaling and coding; nothing else is."""

import io

import numpy as np
import pytest
from PIL import Image

from scripts.bench.clients.frame_number import MODULUS, read, stamp


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(480, 640, 3), (144, 256, 3), (480, 832), (10, 20)])
def test_every_number_is_read_back(shape: tuple[int, ...]) -> None:
    canvas = np.zeros(shape, np.uint8)
    for number in range(0, MODULUS, 37):
        stamp(canvas, number)
        assert read(canvas) == number


def test_numbers_wrap_round() -> None:
    canvas = picture(144, 256)
    stamp(canvas, MODULUS + 5)
    assert read(canvas) == 5


def test_only_the_top_tenth_is_written() -> None:
    canvas = picture(480, 640)
    before = canvas.copy()
    stamp(canvas, 1234)
    assert np.array_equal(canvas[48:], before[48:])


def test_survives_shrinking_and_lossy_coding() -> None:
    for number in (0, 1, 2730, 4095):
        canvas = picture(480, 640, seed=number)
        stamp(canvas, number)
        coded = io.BytesIO()
        Image.fromarray(canvas).resize((256, 144)).save(coded, "JPEG", quality=30)
        assert read(np.array(Image.open(coded))) == number


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_carries_no_number(level: int) -> None:
    assert read(np.full((144, 256, 3), level, np.uint8)) is None


def test_an_inverted_strip_is_refused() -> None:
    canvas = picture(144, 256)
    stamp(canvas, 77)
    assert read(255 - canvas) is None


def test_one_wrong_column_is_noticed() -> None:
    clean = np.zeros((100, 200, 3), np.uint8)
    stamp(clean, 1717)
    for column in range(20):
        broken = clean.copy()
        broken[:10, column * 10 : column * 10 + 10] ^= 255
        assert read(broken) is None


def test_noise_is_hardly_ever_a_number() -> None:
    assert sum(read(picture(144, 256, seed)) is not None for seed in range(200)) == 0
