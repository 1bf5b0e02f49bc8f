"""The feed: all of a picture, the newest one, again while nothing comes, until the camera takes no more."""

import asyncio
import threading

import numpy as np
import pytest
from av import VideoFrame

from server.virtual_camera import feed as module
from server.virtual_camera.device import CameraUnavailable, VirtualCamera
from server.virtual_camera.feed import Feed, fitted
from tests.server.running import until
from tests.server.virtual_camera.stand_in import install

SIZE = (64, 36)


def grey(level: int, width: int = 64, height: int = 36) -> VideoFrame:
    return VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24")


@pytest.mark.parametrize(
    ("width", "height", "bars"),
    [(64, 36, (0, 0)), (256, 144, (0, 0)), (36, 64, (22, 0)), (64, 18, (0, 9)), (3, 400, (31, 0))],
)
def test_all_of_a_picture_is_shown_black_beside_it(width, height, bars):
    picture = fitted(grey(200, width, height), SIZE)
    assert picture.shape == (36, 64, 3) and picture.dtype == np.uint8
    is_lit = picture.min(-1) > 150
    across, down = bars
    assert is_lit[down : 36 - down, across : 64 - across].all()
    assert is_lit.sum() == (36 - 2 * down) * (64 - 2 * across)


@pytest.fixture
def opened(monkeypatch):
    return install(monkeypatch)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_black_is_shown_before_the_first_picture_and_the_last_one_again(opened, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    feed = Feed(VirtualCamera.open(SIZE, fps=30))
    (device,) = opened
    task = asyncio.create_task(feed.run())
    await until(lambda: len(device.sent) > 2, "black")
    assert max(picture.max() for picture in device.sent) == 0
    feed.show(grey(90))
    await until(lambda: sum(picture.max() == 90 for picture in device.sent) > 3, "the same again")
    assert feed.shown == 1
    await ended(task)
    assert device.is_closed


async def test_newest_wins_while_the_camera_is_slow_and_what_gives_way_is_counted(opened):
    feed = Feed(VirtualCamera.open(SIZE, fps=30))
    (device,) = opened
    may_go_on, is_at_it = threading.Event(), threading.Event()
    send = device.send

    def slowly(frame):
        is_at_it.set()
        assert may_go_on.wait(30)
        send(frame)

    device.send = slowly
    task = asyncio.create_task(feed.run())
    await until(is_at_it.is_set, "it is being shown black")
    for level in (10, 20, 30):
        feed.show(grey(level))
    may_go_on.set()
    await until(lambda: feed.shown == 1 and len(device.sent) > 1, "the newest")
    assert [int(picture.max()) for picture in device.sent[:2]] == [0, 30]
    assert feed.left_out == 2
    await ended(task)


async def test_it_ends_with_the_camera(opened):
    feed = Feed(VirtualCamera.open(SIZE, fps=30))
    opened[0].breaks = True
    with pytest.raises(CameraUnavailable):
        await feed.run()
    assert opened[0].is_closed
