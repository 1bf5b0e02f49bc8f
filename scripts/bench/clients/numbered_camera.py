"""A camera of numbered frames that remembers when it gave out each of them."""

import asyncio
import fractions
import time
from collections.abc import Awaitable, Callable

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageOps

from scripts.bench.clients import frame_number

CLOCK_RATE = 90000
LOOP_FRAMES = 48


class NumberedCamera(MediaStreamTrack):
    """A moving scene with the frame's number in its top tenth. Late frames are skipped, as a camera would.

    `clock` and `sleep`: seconds, and how to wait for some.
    """

    kind = "video"

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        self._fps = fps
        self._clock, self._sleep = clock, sleep
        self._height = height
        self._began: float | None = None
        self._number = -1
        scene = moving_scene(width, height)
        self._lumas = [Image.fromarray(picture).convert("L") for picture in scene]
        self._planes = [
            np.asarray(VideoFrame.from_ndarray(picture).reformat(format="yuv420p").to_ndarray(), np.uint8)
            for picture in scene
        ]
        self._sent: dict[int, tuple[float, int]] = {}  # number modulo 4096 -> when, full number

    async def recv(self) -> VideoFrame:
        """The next frame, at its time. `pts` is the frame's own number on a 90 kHz clock."""
        if self.readyState != "live":
            raise MediaStreamError
        now = self._clock()
        self._began = self._began if self._began is not None else now
        self._number = max(self._number + 1, int((now - self._began) * self._fps))
        await self._sleep(self._began + self._number / self._fps - now)
        planes = self._planes[self._number % LOOP_FRAMES].copy()
        frame_number.stamp(planes[: self._height], self._number)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = round(self._number * CLOCK_RATE / self._fps)
        frame.time_base = fractions.Fraction(1, CLOCK_RATE)
        self._sent[self._number % frame_number.MODULUS] = (self._clock(), self._number)
        return frame

    def sent(self, luma: NDArray[np.uint8]) -> float | None:
        """When the frame whose number `luma` (H, W) carries was given out; None: no such frame."""
        found = self._find(luma)
        return None if found is None else found[0]

    def match(self, luma: NDArray[np.uint8]) -> tuple[float, float] | None:
        """When the frame whose number `luma` (H, W) carries was sent, and how much the two differ, 0..255."""
        found = self._find(luma)
        if found is None:
            return None
        sent, full_number = found
        height, width = luma.shape
        source = ImageOps.fit(self._lumas[full_number % LOOP_FRAMES], (width, height))
        below = height // 5  # clear of the stamp
        difference = np.asarray(source, np.float32)[below:] - luma[below:]
        return sent, float(np.abs(difference).mean())

    def _find(self, luma: NDArray[np.uint8]) -> tuple[float, int] | None:
        number = frame_number.read(luma)
        return None if number is None else self._sent.get(number)


def moving_scene(width: int, height: int) -> list[NDArray[np.uint8]]:
    """LOOP_FRAMES pictures (H, W, 3) of one round, without numbers."""
    return [_scene(width, height, index / LOOP_FRAMES) for index in range(LOOP_FRAMES)]


def _scene(width: int, height: int, phase: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: two shaded discs circling before a patterned wall; `phase` 0..1 is one round."""
    y, x = np.mgrid[0:height, 0:width] / height
    wall = 0.5 + 0.25 * np.sin(9 * x + 2 * np.pi * phase) * np.cos(7 * y)
    picture = np.stack([wall * 0.9, wall * 0.8, wall], axis=-1)
    for radius, turn, colour in ((0.28, phase, (0.9, 0.6, 0.3)), (0.18, phase + 0.5, (0.3, 0.7, 0.9))):
        centre_x = width / height / 2 + 0.4 * np.cos(2 * np.pi * turn)
        centre_y = 0.55 + 0.15 * np.sin(2 * np.pi * turn)
        depth = 1 - ((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2
        inside = depth > 0
        picture[inside] = np.sqrt(depth[inside])[:, None] * colour
    return (picture * 255).astype(np.uint8)
