"""What waits to be decoded, and what is asked of the camera's sender."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from av import VideoFrame

from server.media.frames import to_video_frame
from server.media.vp8 import Vp8Encoder
from server.websocket.flow_control import CreditError
from server.websocket.media_frame import Kind, MediaFrame
from server.websocket.receiver import UPLOAD_WINDOW, Upload
from tests.server.running import until
from tests.server.websocket.media_client import jpeg


class Taken(Upload):
    """Notes what it calls back with."""

    def __init__(self, max_fps: float = 30.0) -> None:
        self.kept: list[VideoFrame] = []
        self.drops = 0
        self.words: list[str] = []
        super().__init__(self.kept.append, self._drop, self.words.append, lambda: None, max_fps)
        self.codec_request = None  # as if it had been told
        self._sequence = 0

    def _drop(self) -> None:
        self.drops += 1

    def come(self, kind: Kind, data: bytes) -> None:
        self.take(MediaFrame(kind, self._sequence, 1000 * self._sequence, payload=data))
        self._sequence += 1


@asynccontextmanager
async def decoding(upload: Upload) -> AsyncIterator[None]:
    task = asyncio.create_task(upload.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def vp8(*keys: bool) -> list[bytes]:
    """A picture for each."""
    encoder = Vp8Encoder()
    picture = to_video_frame(np.full((48, 64, 3), 90, np.uint8), pts=0)
    return [encoder.encode(picture, 500_000, key=key) for key in keys]


async def test_pictures_that_build_on_each_other_are_all_decoded():
    upload = Taken()
    for data in vp8(True, False, False):
        upload.come(Kind.VP8, data)
    assert upload.credit == UPLOAD_WINDOW, "no more may come"
    async with decoding(upload):
        await until(lambda: len(upload.kept) == 3, "all of them")
    assert upload.drops == 0 and upload.codec_request is None


async def test_what_waits_is_needless_once_a_picture_comes_that_stands_alone():
    for kind, data in ((Kind.VP8, vp8(True)[0]), (Kind.JPEG, jpeg(9))):
        upload = Taken()
        for delta in vp8(True, False)[1:] * 2:
            upload.come(Kind.VP8, delta)
        upload.come(kind, data)
        assert upload.drops == 2 and upload.credit == UPLOAD_WINDOW + 2
        async with decoding(upload):
            await until(lambda: len(upload.kept) == 1, "the last one")  # noqa: B023 -- awaited here
        assert upload.kept[0].pts == 2000


async def test_a_picture_whose_ground_was_passed_over_asks_for_a_key_frame_once():
    first, second, third = vp8(True, False, False)
    upload = Taken()
    async with decoding(upload):
        for kind, data in ((Kind.VP8, first), (Kind.JPEG, jpeg(9))):
            count = len(upload.kept)
            upload.come(kind, data)
            await until(lambda: len(upload.kept) > count, "it is shown")  # noqa: B023 -- awaited here
        upload.come(Kind.VP8, second)
        await until(lambda: upload.codec_request is Kind.VP8, "a key frame is wanted")
        upload.codec_request = None
        credit = upload.credit
        upload.come(Kind.VP8, third)
        await until(lambda: upload.credit > credit, "it was left out")
        assert upload.codec_request is None and len(upload.kept) == 2 and upload.words == []
        upload.come(Kind.VP8, first)
        await until(lambda: len(upload.kept) == 3, "the key frame is shown")


@pytest.mark.virtual_time
@pytest.mark.parametrize(("max_fps", "most"), [(8, 60), (30, 60), (60, 120)])
async def test_pictures_are_decoded_no_faster_than_a_camera_films(max_fps, most):
    """Whoever sends as fast as credit comes has the rest of this process' time left to others."""
    upload, loop, told = Taken(max_fps), asyncio.get_running_loop(), asyncio.Event()
    upload._changed = told.set
    began, count = loop.time(), 10
    async with decoding(upload):
        for _ in range(count):
            upload.come(Kind.JPEG, jpeg(9))
            await told.wait()
            told.clear()
    assert len(upload.kept) == count and (count - 1) / most <= loop.time() - began <= count / most + 1e-6


async def test_complaints_have_a_rate():
    upload = Taken()
    async with decoding(upload):
        for credit in range(UPLOAD_WINDOW, UPLOAD_WINDOW + 5):
            upload.come(Kind.JPEG, b"no picture")
            await until(lambda credit=credit: upload.credit > credit, "it was looked at")
    assert len(upload.words) == 1 and upload.words[0].startswith("camera frame 0: ")


async def test_what_breaks_the_credit_is_refused_before_it_is_kept():
    upload = Taken()
    for _ in range(UPLOAD_WINDOW):
        upload.come(Kind.VP8, vp8(True)[0])
    assert len(upload._waiting) == 1
    upload = Taken()
    delta = vp8(True, False)[1]
    for _ in range(UPLOAD_WINDOW):
        upload.come(Kind.VP8, delta)
    with pytest.raises(CreditError):
        upload.come(Kind.VP8, delta)
    assert len(upload._waiting) == UPLOAD_WINDOW
