"""A frame number that survives video coding: 20 black and white columns over the top tenth of the picture.

    1 0 | 12 bits, highest first | 4-bit checksum | 0 1

The fixed columns at either end give the levels of black and white, and tell a strip from any other picture.
Numbers are counted modulo 4096: at 30 frames a second they repeat after 136 s.
"""

import numpy as np
from numpy.typing import NDArray

MODULUS = 4096

_COLUMNS = 20
_FIXED_HEAD = (1, 0)
_FIXED_TAIL = (0, 1)
_LEAST_CONTRAST = 64.0  # of 255; less than this between black and white is no strip


def stamp(picture: NDArray[np.uint8], number: int) -> None:
    """Writes `number` modulo 4096 into the top tenth of `picture` in place.

    `picture`: (H, W) luma or (H, W, C), at least 20 wide and 10 high, 0..255.
    """
    height, width = picture.shape[:2]
    columns = np.arange(width) * _COLUMNS // width
    row = np.array(_bits(number % MODULUS), np.uint8)[columns] * 255
    picture[: height // 10] = row.reshape(1, width, *(1,) * (picture.ndim - 2))


def read(picture: NDArray[np.uint8]) -> int | None:
    """The number, 0..4095, in the top tenth of `picture`, (H, W) luma or (H, W, C); None: there is none."""
    height, width = picture.shape[:2]
    strip = picture[height // 40 : max(height * 3 // 40, height // 40 + 1)].astype(np.float32)
    luma = strip.reshape(strip.shape[0], width, -1).mean(axis=(0, 2))
    levels = np.array([_middle(luma, column) for column in range(_COLUMNS)])
    white = (levels[0] + levels[-1]) / 2
    black = (levels[1] + levels[-2]) / 2
    if white - black < _LEAST_CONTRAST:
        return None
    bits = [int(level > (white + black) / 2) for level in levels]
    number = int("".join(map(str, bits[2:14])), 2)
    return number if bits == _bits(number) else None


def _bits(number: int) -> list[int]:
    digits = f"{number:012b}{_checksum(number):04b}"
    return [*_FIXED_HEAD, *map(int, digits), *_FIXED_TAIL]


def _checksum(number: int) -> int:
    """Odd weights: any one wrong bit shows. The offset keeps an all-black strip from being number 0."""
    return ((number & 15) + 3 * (number >> 4 & 15) + 5 * (number >> 8) + 9) & 15


def _middle(luma: NDArray[np.float32], column: int) -> float:
    """Mean level of the middle half of a column; its edges are smeared by scaling and by the codec."""
    width = len(luma) / _COLUMNS
    start, end = int((column + 0.25) * width), int((column + 0.75) * width)
    return float(luma[start : max(end, start + 1)].mean())
