"""The numbered camera as a file, for a browser's fake camera; and which of its frames a page showed when.

The file loops: a number tells a frame only within one loop, so a loop must be longer than any latency.
"""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from scripts.bench.clients import frame_number
from scripts.bench.clients.numbered_camera import LOOP_FRAMES, moving_scene

FPS = 30  # Chromium plays every .mjpeg at this rate
LENGTH = 600  # frames

Seen = tuple[float, int]  # when (s), and the number in the picture


def write_clip(target: Path, width: int, height: int) -> None:
    """LENGTH frames as Motion JPEG, which Chromium takes besides raw video; `target` ends in .mjpeg."""
    scene = moving_scene(width, height)
    coder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(coder, av.VideoCodecContext)
    coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p"
    coder.time_base = Fraction(1, FPS)
    coder.options = {"qmin": "2", "qmax": "4"}
    with target.open("wb") as file:
        for number in range(LENGTH):
            picture = scene[number % LOOP_FRAMES].copy()
            frame_number.stamp(picture, number)
            frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuvj420p")
            frame.pts = number
            for packet in (*coder.encode(frame), *(coder.encode() if number == LENGTH - 1 else ())):
                file.write(bytes(packet))


def number_in(row: Sequence[float]) -> int | None:
    """The number in one row of luma through the strip; None: none, or one that the clip does not have."""
    luma: NDArray[np.uint8] = np.tile(np.array(row).astype(np.uint8), (10, 1))
    number = frame_number.read(luma)
    return number if number is not None and number < LENGTH else None


def sent_times(captured: Sequence[Seen], shown: Sequence[tuple[float, int | None]]) -> list[float | None]:
    """When the camera took each frame that was `shown`; None: it carries no number, or nobody saw it taken.

    `captured` and `shown` rise in time, on one clock. A page does not see every frame of its camera: what it
    missed lies evenly between the neighbours it did see.
    """
    if not captured:
        return [None] * len(shown)
    times = [time for time, _ in captured]
    indices = _unwrap(captured)
    sent: list[float | None] = []
    for time, number in shown:
        newest = bisect_left(times, time) - 1  # the last frame that the camera had taken by then
        if number is None or newest < 0:
            sent.append(None)
            continue
        index = indices[newest] + 1  # one later may have been taken already, and not been seen
        index -= (index - number) % LENGTH
        taken = float(np.interp(index, indices, times)) if indices[0] <= index <= indices[-1] else None
        sent.append(taken)
    return sent


def _unwrap(captured: Sequence[Seen]) -> list[int]:
    """The numbers counted on over the ends of the loop."""
    indices: list[int] = []
    for position, (time, number) in enumerate(captured):
        if not indices:
            indices.append(number)
            continue
        expected = indices[-1] + (time - captured[position - 1][0]) * FPS
        ahead = (number - indices[-1]) % LENGTH
        loops = max(0, round((expected - indices[-1] - ahead) / LENGTH))
        indices.append(indices[-1] + ahead + loops * LENGTH)
    return indices
