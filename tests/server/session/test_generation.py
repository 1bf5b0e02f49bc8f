"""The generation loop with an engine that makes what the test says, when it says so, and no session."""

import asyncio
import logging
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from av import VideoFrame

from server.engine.chunk_job import LatestWins
from server.engine.errors import InputRejected, StreamWasReset
from server.engine.scheduler import Scheduler
from server.media.pacing import MediaClock, Pacer
from server.metrics import Metrics, StreamMeter
from server.session.camera import CameraFeed
from server.session.gate import GenerationGate
from server.session.generation import MAX_FAILURES, GenerationLoop
from streaming.api import ChunkParameters, ChunkResult
from tests.server.running import until

pytestmark = pytest.mark.virtual_time


class Engine:
    """The loop's side of an engine. Each job waits in `jobs` until the test resolves its future."""

    pace = 100.0

    def __init__(self) -> None:
        self.scheduler = Scheduler(asyncio.get_running_loop().time)
        self.jobs = []

    async def idle(self) -> None: ...

    async def step(self, handle, job) -> ChunkResult:
        future = asyncio.get_running_loop().create_future()
        self.jobs.append((job, future))
        return await future

    async def next(self, count: int):
        await until(lambda: len(self.jobs) == count, f"job {count}")
        return self.jobs[-1]


class Commands:
    """Asks `asked` of every chunk and notes what it hears of them."""

    is_recache_ahead = False

    def __init__(self) -> None:
        self.asked = ChunkParameters()
        self.heard = []

    def begin(self, sequence):
        self.heard.append(("begin", sequence))
        return LatestWins(self.asked)

    def taken(self):
        self.heard.append("taken")
        return SimpleNamespace(change=self.asked)

    def made(self, sequence, piece):
        self.heard.append(("made", sequence, piece.chunk))

    def rejected(self, reason):
        self.heard.append(("rejected", reason))
        return []

    def lost(self):
        self.heard.append("lost")

    def finished(self):
        self.heard.append("finished")


class Rig:
    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self.engine, self.commands, self.told = Engine(), Commands(), []
        self.meter = StreamMeter(Metrics(), now)
        self.feed = CameraFeed("abc", 30, now)
        self.pacer = Pacer(MediaClock())
        self.gate = GenerationGate(self.feed, self.pacer, self.meter)
        self.loop = GenerationLoop(
            self.engine,
            self.feed,
            self.gate,
            self.commands,
            self.pacer,
            self.meter,
            logging.LoggerAdapter(logging.getLogger("test")),
            on_frames=lambda: self.told.append("frames"),
            on_failed=lambda *replies: self.told.append(replies[0].code),
        )
        handle = SimpleNamespace(frames_wanted=9)
        self.tasks = [asyncio.create_task(self.loop.play(handle)), asyncio.create_task(self.film())]

    async def film(self) -> None:
        pts = 0
        while True:
            frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            frame.pts, frame.time_base = pts, Fraction(1, 30)
            self.feed.push(frame, asyncio.get_running_loop().time())
            pts += 1
            await asyncio.sleep(1 / 30)


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    for task in rig.tasks:
        task.cancel()
    await asyncio.gather(*rig.tasks, return_exceptions=True)


def result(count: int = 9, chunk: int = 0, **fields) -> ChunkResult:
    frames = np.zeros((count, 4, 6, 3), np.uint8)
    shape = {"first_frame": 0, "frames_in_chunk": count, "generation": 0, "guidance_scale": 1.0}
    return ChunkResult(frames=frames, chunk=chunk, **(shape | fields))


def piece(of: ChunkResult, first: int, count: int) -> ChunkResult:
    return replace(of, frames=of.frames[first : first + count], first_frame=of.first_frame + first)


async def test_a_chunk_is_asked_for_made_and_queued_piece_by_piece(rig):
    job, future = await rig.engine.next(1)
    assert rig.loop.is_busy and len(job.frames()) == 9
    whole = result()
    job.taken()
    job.add(piece(whole, 0, 1))
    job.add(piece(whole, 1, 8))
    assert len(rig.pacer) == 9 and rig.told == ["frames", "frames"]
    future.set_result(whole)
    job, _ = await rig.engine.next(2)
    assert len(job.frames()) == 12, "as many as the result said"
    assert rig.commands.heard == [("begin", 1), "taken", ("made", 1, 0), "finished", ("begin", 2)]


async def test_pictures_of_a_refused_chunk_are_wanted_again_and_of_a_reset_as_many_as_it_says(rig):
    _, future = await rig.engine.next(1)
    future.set_exception(InputRejected("no such word"))
    job, future = await rig.engine.next(2)
    assert len(job.frames()) == 9 and ("rejected", "no such word") in rig.commands.heard
    future.set_result(result())
    _, future = await rig.engine.next(3)
    future.set_exception(StreamWasReset("NaN", 9))
    job, _ = await rig.engine.next(4)
    assert len(job.frames()) == 9 and "lost" in rig.commands.heard
    assert rig.told == ["rejected", "reset"]


async def test_only_failures_in_a_row_end_it(rig):
    count = 0
    for failures in (MAX_FAILURES - 1, MAX_FAILURES):
        for _ in range(failures):
            _, future = await rig.engine.next(count := count + 1)
            future.set_exception(InputRejected("no"))
        if failures < MAX_FAILURES:
            _, future = await rig.engine.next(count := count + 1)
            future.set_result(result())
    await rig.tasks[0]
    assert len(rig.engine.jobs) == 2 * MAX_FAILURES


async def test_what_comes_of_a_chunk_after_its_end_goes_nowhere(rig):
    job, _ = await rig.engine.next(1)
    rig.tasks[0].cancel()
    await asyncio.gather(rig.tasks[0], return_exceptions=True)
    job.taken()
    job.add(result())
    assert not len(rig.pacer) and rig.commands.heard == [("begin", 1), "finished"]


async def test_a_chunk_that_begins_in_a_pause_is_dropped_whole(rig):
    job, future = await rig.engine.next(1)
    whole = result()
    job.taken()
    rig.gate.close()
    job.add(piece(whole, 0, 1))
    rig.gate.open()
    job.add(piece(whole, 1, 8))
    assert not len(rig.pacer) and not rig.told
    future.set_result(whole)


async def test_a_switch_sweeps_what_waits(rig):
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result())
    future.set_result(result())
    rig.commands.asked = ChunkParameters(prompts=(("gold", 1.0),))
    job, _ = await rig.engine.next(2)
    assert len(rig.pacer) == 9
    job.taken()
    job.add(result(12, chunk=1))
    assert len(rig.pacer) == 12
