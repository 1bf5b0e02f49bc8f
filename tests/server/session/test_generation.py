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
from server.protocol.replies import ErrorReply
from server.session.camera import CameraFeed
from server.session.gate import GenerationGate
from server.session.generation import MAX_FAILURES, GenerationLoop
from streaming.api import ChunkParameters, ChunkResult
from tests.server.pictures import CLAY
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
        self.parameters = CLAY
        self.heard = []

    def begin(self, sequence):
        self.heard.append(("begin", sequence))
        return LatestWins(self.asked)

    def taken(self):
        self.heard.append("taken")
        return SimpleNamespace(change=self.asked)

    def made(self, chunk):
        self.heard.append(("made", chunk))

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
    picture, _ = rig.pacer.pop(0.0)
    assert (picture.parameters, picture.guidance_scale) == (CLAY, 1.0)
    future.set_result(whole)
    job, _ = await rig.engine.next(2)
    assert len(job.frames()) == 12, "as many as the result said"
    assert rig.commands.heard == [("begin", 1), "taken", ("made", 0), "finished", ("begin", 2)]


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
    for first in (0, 4, 8):
        job.add(piece(result(12, chunk=1), first, 4))
    assert len(rig.pacer) == 12, "and nothing of its own"


async def test_each_picture_knows_the_frame_it_was_made_from_after_a_cut_too(rig):
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result())
    future.set_result(result())
    ages = []
    rig.meter.chunk = lambda timings, *, collect: ages.append(collect)
    job, future = await rig.engine.next(2)
    taken_at = asyncio.get_running_loop().time()
    rig.pacer.clear()
    cut = result(9, first_frame=9, generation=1)
    job.taken()
    job.add(piece(cut, 0, 1))
    job.add(piece(cut, 1, 8))
    future.set_result(cut)
    await rig.engine.next(3)
    pictures = [rig.pacer.pop(0.0)[0] for _ in range(9)]
    frames = job.frames()[-9:]
    assert [picture.frame for picture in pictures] == list(range(9, 18))
    assert {(picture.chunk, picture.sequence) for picture in pictures} == {(0, 2)}
    captured = [picture.captured for picture in pictures]
    assert np.diff(captured) == pytest.approx([1 / 30] * 8) and captured[-1] > taken_at - 2 / 30
    assert [picture.source.time for picture in pictures] == pytest.approx(
        [pictures[-1].source.time - age / 30 for age in range(8, -1, -1)]
    )
    assert len(frames) == 9 and pictures[0].rgb.shape == (4, 6, 3)
    assert ages[-1] == pytest.approx(taken_at - sum(captured) / 9, abs=0.02), "of the 9 it is made of"


async def test_pictures_of_an_older_generation_are_dropped_and_counted(rig):
    dropped = []
    rig.meter.dropped_more = lambda reason, count: dropped.append((reason, count))
    for number, generation in enumerate((1, 0, 1)):
        job, future = await rig.engine.next(number + 1)
        job.taken()
        made = result(len(job.frames()), generation=generation)
        job.add(made)
        future.set_result(made)
    assert len(rig.pacer) == 9 + 12 and rig.told == ["frames"] * 2
    assert dropped == [("stale", 0), ("stale", 12)]


async def test_a_new_generation_sweeps_what_waits(rig):
    dropped = []
    rig.meter.dropped_more = lambda reason, count: dropped.append((reason, count))
    for number, generation in enumerate((0, 1)):
        job, future = await rig.engine.next(number + 1)
        job.taken()
        made = result(9, generation=generation)
        job.add(piece(made, 0, 4))
        job.add(piece(made, 4, 5))
        future.set_result(made)
    assert len(rig.pacer) == 9 and dropped == [("stale", 9)], "and nothing of the chunk itself"


async def test_the_newest_result_is_kept_and_the_model_is_busy_only_with_a_chunk(rig):
    assert rig.loop.result is None
    _, future = await rig.engine.next(1)
    made = result()
    rig.gate.close()
    future.set_result(made)
    await until(lambda: not rig.loop.is_busy, "the chunk's end")
    assert rig.loop.result is made and rig.commands.heard[-1] == "finished"
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1, "paused"
    rig.gate.open()
    await rig.engine.next(2)
    assert rig.loop.is_busy


@pytest.mark.parametrize("what", ["a pause", "another frame rate"])
async def test_what_comes_while_others_have_the_device_may_begin_no_chunk(rig, what):
    may_go = asyncio.Event()
    _, future = await rig.engine.next(1)
    rig.engine.idle = may_go.wait
    future.set_result(result())
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1, "the device is not free"
    rig.gate.close() if what == "a pause" else rig.feed.limit_fps(1)
    may_go.set()
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1
    rig.gate.open() if what == "a pause" else rig.feed.limit_fps(None)
    await rig.engine.next(2)


async def test_the_device_is_asked_for_when_there_is_a_chunk_to_make_and_not_before(rig):
    taken, take = [], rig.engine.scheduler.take
    rig.engine.scheduler.take = lambda client: taken.append(client) or take(client)
    for count in (1, 2, 3):
        _, future = await rig.engine.next(count)
        assert len(taken) == count
        future.set_result(result())
    rig.tasks[1].cancel()  # the camera
    await asyncio.sleep(60)
    assert len(taken) == 3


async def test_what_waits_lasts_until_the_next_chunk_is_there_as_long_as_that_takes(rig):
    expected, longer, gold = [], [], ChunkParameters(prompts=(("gold", 1.0),))
    rig.pacer.expect = lambda until, now: expected.append(until - now)
    rig.engine.scheduler.extend = longer.append
    job, future = await rig.engine.next(1)
    assert expected == [], "nothing is known yet"
    await asyncio.sleep(0.5)
    job.taken()
    job.add(piece(result(), 0, 1))
    await asyncio.sleep(0.3)
    job.add(piece(result(), 1, 8))  # how long the rest took is no matter
    future.set_result(result())
    rig.commands.is_recache_ahead, rig.commands.asked = True, gold
    job, future = await rig.engine.next(2)
    assert expected[-1] == pytest.approx(0.75, abs=0.03), "half as long again for a new prompt"
    await asyncio.sleep(0.1)
    job.taken()
    assert expected[-1] == pytest.approx(0.65, abs=0.03) and longer == [pytest.approx(0.25, abs=0.02)]
    await asyncio.sleep(0.9)
    job.add(result(12, chunk=1))
    future.set_result(result(12, chunk=1, frames_wanted=12))
    job, future = await rig.engine.next(3)
    assert expected[-1] == pytest.approx(1.0, abs=0.05), "as long as the last one took"
    rig.commands.is_recache_ahead, rig.commands.asked = False, ChunkParameters()
    job.taken()
    job.add(result(12, chunk=2))
    future.set_result(result(12, chunk=2, frames_wanted=12))
    _, _ = await rig.engine.next(4)
    assert expected[-1] < 0.1, "as long as the last one without"
    assert len(longer) == 1, "others are told of a new prompt alone"


async def test_a_refusal_that_no_command_explains_is_told_all_the_same(rig, caplog):
    told = []
    rig.loop._on_failed = lambda *replies: told.extend(replies)
    _, future = await rig.engine.next(1)
    future.set_exception(InputRejected("no such pixel format"))
    _, future = await rig.engine.next(2)
    future.set_exception(StreamWasReset("NaN", 9))
    await rig.engine.next(3)
    assert [(reply.code, reply.message) for reply in told] == [
        ("rejected", "no such pixel format"),
        ("reset", "NaN"),
    ]
    assert "Chunk 1 of the session: no such pixel format" in caplog.text


async def test_whose_command_was_refused_is_told(rig):
    told, refusal = [], ErrorReply(id="7", code="rejected", message="no such word")
    rig.loop._on_failed = lambda *replies: told.extend(replies)
    rig.commands.rejected = lambda reason: [refusal]
    _, future = await rig.engine.next(1)
    future.set_exception(InputRejected("no such word"))
    await rig.engine.next(2)
    assert told == [refusal]
