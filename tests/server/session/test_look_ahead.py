"""Look-ahead of a session, with an engine that only notes what it is shown, and an even camera."""

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from av import VideoFrame

from server.engine.scheduler import Client, Scheduler
from server.media.frames import Rgb, to_rgb
from server.session.camera import CameraFeed
from server.session.look_ahead import LookAhead
from streaming.api import SEEN_TOGETHER, WeightedPrompts

pytestmark = pytest.mark.virtual_time
FPS = 30


class Engine:
    """Takes `frame_s` for each frame that it has not seen; refuses while `is_busy`."""

    def __init__(self, frame_s: float) -> None:
        self.scheduler = Scheduler(asyncio.get_running_loop().time)
        self.frame_s = frame_s
        self.left_over_s = 0.0  # of the last chunk's work
        self.is_busy = False
        self.seen: list[VideoFrame] = []  # by the last call
        self.calls: list[int] = []  # new frames of each
        self.asked_idle = 0
        self.recached: list[WeightedPrompts] = []

    async def recache_ahead(self, handle: Any, prompts: WeightedPrompts) -> bool:
        if not self.is_busy:
            self.recached.append(prompts)
        return not self.is_busy

    async def idle(self) -> None:
        self.asked_idle += 1
        await asyncio.sleep(self.left_over_s)
        self.left_over_s = 0.0

    async def look_ahead(self, handle: Any, frames: Sequence[VideoFrame], convert: Any) -> float | None:
        assert convert is to_rgb and len(set(frames)) == len(frames) <= 12
        if self.is_busy:
            return None
        new = [frame for frame in frames if frame not in self.seen]
        self.seen = list(frames)
        self.calls.append(len(new))
        await asyncio.sleep(self.frame_s * len(new))
        return self.frame_s * len(new)


class Rig:
    """A camera that runs by itself, and a generator that the test is."""

    def __init__(self, *, frame_s: float = 0.0, max_fps: float = FPS) -> None:
        self.engine = Engine(frame_s)
        self.feed = CameraFeed("abc", max_fps, asyncio.get_running_loop().time())
        self.ahead = LookAhead(self.engine, self.feed)  # type: ignore[arg-type]
        self.count = 9
        self.camera = asyncio.create_task(self.film())

    async def film(self) -> None:
        pixels: Rgb = np.zeros((4, 6, 3), np.uint8)
        for pts in range(100_000):
            frame = VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = pts, Fraction(1, FPS)
            self.feed.push(frame, asyncio.get_running_loop().time())
            await asyncio.sleep(1 / FPS)

    async def filled(self) -> None:
        """Until a chunk can be taken."""
        while not await self.feed.ready(self.count):
            await self.ahead.while_they_come(HANDLE, self.count)

    async def chunk(self, seconds: float = 0.0) -> tuple[int, int]:
        """Make one that takes so long but for what was done ahead; how many of its frames had been seen, and
        how many were seen in vain."""
        await self.filled()
        async with self.engine.scheduler.take(Client(lambda eta: None)):
            await self.ahead.before_they_are_taken(HANDLE, self.count)
            frames = self.feed.take(self.count, asyncio.get_running_loop().time()).frames
            hits = sum(frame in self.engine.seen for frame in frames)
            in_vain = len(set(self.engine.seen) - set(frames))
            self.engine.seen = []
            await asyncio.sleep(max(0.0, seconds - hits * self.engine.frame_s))
        self.count = 12
        return hits, in_vain


HANDLE: Any = SimpleNamespace()


@pytest.fixture
async def rigs():
    """Makes rigs, whose cameras stop at the end."""
    made: list[Rig] = []

    def rig(**how: float) -> Rig:
        made.append(Rig(**how))
        return made[-1]

    yield rig
    for each in made:
        each.camera.cancel()
    await asyncio.gather(*(each.camera for each in made), return_exceptions=True)


async def test_frames_are_seen_in_groups_as_they_come(rigs):
    """All but the last: with those the chunk is full."""
    rig = rigs()
    assert await rig.chunk() == (6, 0)
    for _ in range(3):
        assert await rig.chunk() == (9, 0)
    assert set(rig.engine.calls) == {SEEN_TOGETHER}


@pytest.mark.parametrize("max_fps", [30, 24, 16, 12, 10])
async def test_law_what_is_seen_of_an_even_camera_is_in_the_chunk(rigs, max_fps):
    """Also where some of its frames are passed over, or it is a little slower than it might be."""
    rig = rigs(max_fps=max_fps)
    chunks = [await rig.chunk() for _ in range(20)][2:]  # once the pace is known
    assert all(in_vain == 0 for _, in_vain in chunks)
    assert all(hits >= 9 for hits, _ in chunks)


async def test_law_nothing_is_seen_ahead_while_another_has_the_device_or_waits_for_it(rigs):
    rig = rigs()
    await rig.chunk()
    rig.engine.calls.clear()
    asked_idle = rig.engine.asked_idle
    async with rig.engine.scheduler.take(Client(lambda eta: None)):
        await rig.filled()
        await rig.ahead.before_they_are_taken(HANDLE, rig.count)
    assert not rig.engine.calls, "and the camera is not ahead of the generator"
    assert rig.engine.asked_idle == asked_idle, "the other's job would come first"


async def test_law_a_window_is_recomputed_ahead_once_a_chunk_and_never_while_the_device_is_wanted(rigs):
    """Whoever changes a prompt again and again has one recache a chunk, as without."""
    rig = rigs()
    gold, silver = (("gold", 1.0),), (("silver", 1.0),)
    await rig.ahead.recache(HANDLE, None)
    async with rig.engine.scheduler.take(Client(lambda eta: None)):
        await rig.ahead.recache(HANDLE, gold)
    await asyncio.sleep(0)  # it is free again
    rig.engine.is_busy = True
    await rig.ahead.recache(HANDLE, gold)
    assert rig.ahead.recached is None and not rig.engine.recached
    rig.engine.is_busy = False
    for prompts in (gold, gold, silver):
        await rig.ahead.recache(HANDLE, prompts)
    assert rig.ahead.recached == gold and rig.engine.recached == [gold]
    rig.ahead.taken()
    await rig.ahead.recache(HANDLE, silver)
    assert rig.engine.recached == [gold, silver]


async def test_law_nothing_is_seen_ahead_in_ones_own_turn_while_another_waits(rigs):
    rig = rigs(frame_s=0.01)
    for _ in range(5):
        await rig.chunk(0.6)
    await rig.filled()
    async with asyncio.TaskGroup() as group:
        async with rig.engine.scheduler.take(Client(lambda eta: None)):

            async def other() -> None:
                async with rig.engine.scheduler.take(Client(lambda eta: None)):
                    pass

            group.create_task(other())
            await asyncio.sleep(0)
            rig.engine.calls.clear()
            await rig.ahead.before_they_are_taken(HANDLE, rig.count)
            assert not rig.engine.calls
        await asyncio.sleep(0)
    async with rig.engine.scheduler.take(Client(lambda eta: None)):
        await rig.ahead.before_they_are_taken(HANDLE, rig.count)
        assert rig.engine.calls == [9], "nobody waits any more"


async def test_what_the_last_chunk_left_to_do_comes_first(rigs):
    """And if the chunk is full by then, it is taken."""
    rig = rigs()
    await rig.chunk()
    rig.engine.left_over_s = 1.0
    rig.engine.calls.clear()
    await rig.filled()
    assert not rig.engine.calls


async def test_frames_that_could_not_be_seen_for_other_work_are_shown_again(rigs):
    rig = rigs()
    await rig.chunk()
    rig.engine.is_busy = True
    # After the third group has come: those that come with the next frame are no group by themselves.
    asyncio.get_running_loop().call_later(9.5 / FPS, lambda: setattr(rig.engine, "is_busy", False))
    assert await rig.chunk() == (10, 0)


@pytest.mark.parametrize(
    ("seconds", "frame_s", "seen"), [(0.5, 0.01, 5), (0.545, 0.01, 8), (0.98, 0.02, 8), (0.52, 0.02, 3)]
)
async def test_law_a_generator_slower_than_the_camera_takes_younger_frames_and_as_many_chunks(
    rigs, seconds, frame_s, seen
):
    """By the time that depth of the frames takes which are there already. It never waits for the camera."""
    rig = rigs(frame_s=frame_s)
    for _ in range(5):
        await rig.chunk(seconds)
    began = asyncio.get_running_loop().time()
    chunks = [await rig.chunk(seconds) for _ in range(40)]
    took = (asyncio.get_running_loop().time() - began) / len(chunks)
    in_vain = sum(in_vain for _, in_vain in chunks) / len(chunks)
    assert sum(hits for hits, _ in chunks) / len(chunks) >= seen
    assert in_vain <= 0.5 and took == pytest.approx(seconds + in_vain * frame_s, abs=0.01)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.39])
async def test_a_generator_that_keeps_up_puts_off_nothing(rigs, seconds):
    rig = rigs(frame_s=0.01)
    for _ in range(5):
        await rig.chunk(seconds)
    began = asyncio.get_running_loop().time()
    for _ in range(20):
        await rig.chunk(seconds)
    assert (asyncio.get_running_loop().time() - began) / 20 == pytest.approx(12 / FPS, abs=0.01)
    assert rig.feed.lag == 0


async def test_a_frozen_camera_has_nothing_to_see_ahead(rigs):
    """One picture stands for all that come."""
    rig = rigs()
    await rig.chunk()
    rig.feed.freeze(True)
    await rig.chunk()
    rig.engine.calls.clear()
    await rig.chunk()
    assert not rig.engine.calls
