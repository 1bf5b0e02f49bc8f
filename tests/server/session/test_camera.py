"""The camera's side of a session, without one: the test pushes the frames."""

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from av import VideoFrame

from server.session.camera import RING, CameraFeed
from server.session.chunk_assembler import ChunkNotReady

pytestmark = pytest.mark.virtual_time

MAX_FPS = 30


class Camera:
    """Pushes frames into a feed; their grey counts them."""

    def __init__(self, max_fps: float = MAX_FPS) -> None:
        self.loop = asyncio.get_running_loop()
        self.feed = CameraFeed("0123456789", max_fps, self.loop.time())
        self.count = 0

    def push(self, width: int = 64, height: int = 48, *, has_pts: bool = True, late: float = 0.0) -> bool:
        frame = VideoFrame.from_ndarray(np.full((height, width, 3), self.count % 256, np.uint8))
        if has_pts:
            frame.pts, frame.time_base = round(self.loop.time() * 90_000), Fraction(1, 90_000)
        self.count += 1
        return self.feed.push(frame, self.loop.time() + late)

    async def film(self, frames: int, fps: float = MAX_FPS) -> None:
        for _ in range(frames):
            self.push()
            await asyncio.sleep(1 / fps)

    def take(self, count: int = 12):
        return self.feed.take(count, self.loop.time())


def numbers(chunk) -> list[int]:
    return [int(frame.to_ndarray(format="rgb24")[0, 0, 0]) for frame in chunk.frames]


async def test_a_chunk_has_the_newest_frames_oldest_first():
    camera = Camera()
    await camera.film(20)
    assert camera.feed.is_ready(9)
    chunk = camera.take(9)
    assert numbers(chunk) == list(range(11, 20))
    assert chunk.span == pytest.approx(9 / MAX_FPS)
    assert not camera.feed.is_ready(12)
    with pytest.raises(ChunkNotReady):
        camera.take(12)


async def test_who_waits_is_woken_by_the_frame_that_completes_a_chunk():
    camera = Camera()
    await camera.film(12)
    camera.take(9)
    began, ready = camera.loop.time(), False
    filming = asyncio.create_task(camera.film(40))
    while not ready:
        async with asyncio.timeout(1):  # each frame wakes it
            ready = await camera.feed.ready(12)
    # Half a sample early is early enough, and the pushes fall on multiples of a sample.
    assert camera.loop.time() - began == pytest.approx(11 / MAX_FPS, abs=1e-6)
    assert len(numbers(camera.take(12))) == 12
    filming.cancel()


async def test_a_slow_cameras_frame_goes_in_what_company_it_has_when_its_time_has_come():
    """Nothing wakes who waits then but the clock."""
    camera = Camera()
    await camera.film(12)
    camera.take(9)
    camera.push()
    await asyncio.sleep(0.7)
    camera.push()
    assert await camera.feed.ready(12)
    assert set(numbers(camera.take())) == {12, 13}
    await asyncio.sleep(0.7)
    camera.push()
    began = camera.loop.time()
    assert await camera.feed.ready(12) is False, "its time has come: look again"
    assert 12 / MAX_FPS <= camera.loop.time() - began < 0.5
    assert await camera.feed.ready(12)
    assert set(numbers(camera.take())) == {14}


async def test_a_frame_too_large_to_be_worked_with_is_dropped_counted_and_told_once(caplog):
    camera = Camera()
    assert camera.push()
    newest, seen = camera.feed.newest, camera.feed.seen_at
    await asyncio.sleep(1)
    assert not camera.push(4000, 2000) and not camera.push(16, 4000)
    assert camera.feed.newest is newest and camera.feed.seen_at == seen
    assert camera.feed.dropped == 2
    assert [(one.session, one.getMessage()) for one in caplog.records] == [
        ("01234567", "drops camera frames of 4000x2000: too large")
    ]


async def test_what_is_not_chosen_is_counted_as_dropped():
    camera = Camera()
    await camera.film(RING + 5, fps=2 * MAX_FPS)
    assert camera.feed.dropped == 5, "the ring is bounded"
    chunk = camera.take(9)
    assert camera.feed.dropped == RING + 5 - len(set(numbers(chunk)))


async def test_a_frame_without_a_time_is_of_its_arrival():
    camera = Camera()
    for _ in range(12):
        camera.push(has_pts=False)
        await asyncio.sleep(1 / MAX_FPS)
    times = camera.take(9).times
    assert times[-1] == pytest.approx(camera.loop.time() - 1 / MAX_FPS)
    assert np.diff(times) == pytest.approx([1 / MAX_FPS] * 8)


async def test_times_are_the_cameras_and_not_those_of_a_jittery_network():
    camera = Camera()
    for number in range(12):
        camera.push(late=0.02 * (number % 3))
        await asyncio.sleep(1 / MAX_FPS)
    assert np.diff(camera.take(9).times) == pytest.approx([1 / MAX_FPS] * 8, abs=1e-3)


async def test_while_frozen_one_picture_stands_for_all_that_come():
    camera = Camera()
    await camera.film(12)
    camera.take(9)
    camera.feed.freeze(True)
    held = camera.feed.newest
    await camera.film(14)
    assert camera.feed.newest is held
    assert set(numbers(camera.take())) == {11}
    assert camera.feed.seen_at == pytest.approx(camera.loop.time() - 1 / MAX_FPS), "the camera is not silent"
    camera.feed.freeze(False)
    await camera.film(14)
    after = numbers(camera.take())
    assert after[0] >= 26 and after[-1] == 39 and len(set(after)) == 12


async def test_after_a_freeze_the_camera_moves_again_and_the_next_freeze_holds_another_picture():
    camera = Camera()
    for last in (13, 41):
        await camera.film(14)
        camera.take()
        camera.feed.freeze(True)
        await camera.film(14)
        assert set(numbers(camera.take())) == {last}
        camera.feed.freeze(False)


async def test_a_camera_that_is_frozen_before_its_first_frame_shows_that_one():
    camera = Camera()
    camera.feed.freeze(True)
    await camera.film(14)
    assert set(numbers(camera.take(9))) == {0}


@pytest.mark.parametrize(("asked", "fps"), [(10, 10), (60, MAX_FPS), (None, MAX_FPS), (MAX_FPS, MAX_FPS)])
async def test_law_no_one_gets_more_frames_a_second_than_the_server_allows(asked, fps):
    camera = Camera()
    camera.feed.limit_fps(5)
    camera.feed.limit_fps(asked)
    taken = 0
    for _ in range(10 * 90):
        await camera.film(1, fps=90)
        if camera.feed.is_ready(12):
            taken += len(camera.take().frames)
    assert taken / 10 == pytest.approx(fps, rel=0.1)


async def test_another_limit_wakes_who_waits():
    camera = Camera()
    camera.feed.limit_fps(1)
    await camera.film(14)
    waiting = asyncio.create_task(camera.feed.ready(12))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    camera.feed.limit_fps(None)
    async with asyncio.timeout(1):
        assert await waiting is False, "it has to look again"
    assert await camera.feed.ready(12)


async def test_law_what_was_filmed_in_a_pause_is_not_relived():
    camera = Camera(max_fps=60)
    await camera.film(12, fps=60)
    camera.take(9)
    await camera.film(2 * RING, fps=60)
    camera.feed.skip_to_latest()
    chunk = camera.take()
    assert chunk.span == pytest.approx(12 / 60)
    assert numbers(chunk) == list(range(12 + 2 * RING - 12, 12 + 2 * RING))


async def test_a_cleared_feed_holds_no_frame():
    camera = Camera()
    await camera.film(14)
    camera.feed.freeze(True)
    camera.feed.clear()
    assert camera.feed.newest is None and not camera.feed.is_ready(1)
    camera.push()
    assert numbers_of_newest(camera) == 14, "nor does what was frozen come back"


def numbers_of_newest(camera: Camera) -> int:
    assert camera.feed.newest is not None
    return int(camera.feed.newest.to_ndarray(format="rgb24")[0, 0, 0])
