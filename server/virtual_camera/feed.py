"""Feed of a virtual camera: the newest picture, whatever becomes of the connection that brings it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from server.media.frames import Rgb, Size
from server.virtual_camera.device import VirtualCamera

AGAIN_S = 0.5  # without a new picture the last one is shown again, or programs take the camera for dead


class Feed:
    """Shows pictures on a camera, which it closes in the end. A picture that comes while one is being shown
    takes the place of the one that waits.

    feed = Feed(camera)
    feed.show(frame)      # on the loop, for each
    await feed.run()      # until it is cancelled
    """

    def __init__(self, camera: VirtualCamera) -> None:
        self._camera = camera
        self._newest: VideoFrame | None = None
        self._has_come = asyncio.Event()
        self.shown = 0  # pictures of the session
        self.left_out = 0  # a newer one came before they could be shown

    def show(self, frame: VideoFrame) -> None:
        """Never waits."""
        self.left_out += self._newest is not None
        self._newest = frame
        self._has_come.set()

    async def run(self) -> None:
        """Black before the first picture. Raises CameraUnavailable when the camera takes no more."""
        width, height = self._camera.size
        picture = np.zeros((height, width, 3), np.uint8)
        with ThreadPoolExecutor(1, "virtual camera") as thread:  # one alone: the camera is no two threads'

            async def there(work: Callable[..., Any], *values: object) -> Any:
                return await asyncio.get_running_loop().run_in_executor(thread, work, *values)

            try:
                while True:
                    frame, self._newest = self._newest, None
                    if frame is not None:
                        picture = await there(fitted, frame, self._camera.size)
                        self.shown += 1
                    await there(self._camera.send, picture)
                    await self._next()
            finally:
                thread.submit(self._camera.close)

    async def _next(self) -> None:
        """Until a picture has come, or AGAIN_S have passed."""
        try:
            async with asyncio.timeout(AGAIN_S):
                await self._has_come.wait()
        except TimeoutError:
            return
        finally:
            self._has_come.clear()


def fitted(frame: VideoFrame, size: Size) -> Rgb:
    """All of a picture, as large as `size` (width, height) lets it be, black beside it; (H, W, 3)."""
    width, height = size
    scale = min(width / frame.width, height / frame.height)
    # Even, as the converter is three times as slow with odd widths.
    inner = [max(2, 2 * round(side * scale / 2)) for side in (frame.width, frame.height)]
    inner_width, inner_height = min(inner[0], width), min(inner[1], height)
    scaled = VideoReformatter().reformat(
        frame, width=inner_width, height=inner_height, format="rgb24", threads=1
    )
    picture = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    picture[top : top + inner_height, left : left + inner_width] = cast(Rgb, scaled.to_ndarray())
    return picture
