"""The generation loop with an engine that makes what the test says, when it says so, and no session."""

import asyncio
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from av import VideoFrame

from server.engine.errors import InputRejected, StreamWasReset
from server.engine.scheduler import Scheduler
from server.media.pacing import MediaClock, Pacer
from server.metrics import Metrics, StreamMeter
from server.protocol.replies import ErrorReply, Superseded
from server.protocol.requests import SetGuidance, SetPrompt, SetSeed, SetTimeline, TimelineStep
from server.session.camera import CameraFeed
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue
from server.session.generation import MAX_FAILURES, GenerationLoop
from streaming.api import ChunkResult
from tests.server.pictures import CLAY, picture
from tests.server.running import until

pytestmark = pytest.mark.virtual_time


class Engine:
    """The loop's side of an engine. Each job waits in `jobs` until the test resolves its future."""

    pace = 100.0

    def __init__(self) -> None:
        self.scheduler = Scheduler(asyncio.get_running_loop().time)
        self.jobs = []
        self.ahead = []  # frames seen ahead, and whether the device was nobody's
        self.on_look_ahead = lambda: None

    async def idle(self) -> None: ...

    async def look_ahead(self, handle, frames, to_rgb) -> float:
        self.ahead.append((len(frames), self.scheduler.is_free))
        self.on_look_ahead()
        return 0.0

    async def recache_ahead(self, handle, prompts) -> bool:
        return False

    async def step(self, handle, job) -> ChunkResult:
        future = asyncio.get_running_loop().create_future()
        self.jobs.append((job, future))
        return await future

    async def next(self, count: int):
        await until(lambda: len(self.jobs) == count, f"job {count}")
        return self.jobs[-1]


class Rig:
    """A loop whose engine is the test's; `told` is what it told, `replies` the same in full."""

    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self.engine, self.queue = Engine(), ControlQueue()
        self.told, self.replies, self.changes = [], [], 0
        self.meter = StreamMeter(Metrics(), now)
        self.feed = CameraFeed("abc", 30, now)
        self.pacer = Pacer(MediaClock())
        self.planner = ChunkPlanner(self.queue, CLAY)
        self.loop = GenerationLoop(
            "abc",
            self.engine,
            feed=self.feed,
            planner=self.planner,
            pacer=self.pacer,
            meter=self.meter,
            on_frames=lambda: self.told.append("frames"),
            on_change=self.count,
            tell=self.tell,
        )
        handle = SimpleNamespace(frames_wanted=9)
        self.tasks = [asyncio.create_task(self.loop.play(handle)), asyncio.create_task(self.film())]

    def count(self) -> None:
        self.changes += 1

    def tell(self, *replies) -> None:
        self.replies.extend(replies)
        self.told.extend((reply.type, reply.id) for reply in replies)

    def ask(self, command) -> None:
        self.planner.submit(command, 0.0, self.loop.time())

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
    assert rig.planner.is_busy and len(job.frames) == 9
    whole = result()
    job.taken()
    job.add(piece(whole, 0, 1))
    job.add(piece(whole, 1, 8))
    assert len(rig.pacer) == 9 and rig.told == ["frames", "frames"]
    first, _ = rig.pacer.pop(0.0)
    assert (first.parameters, first.guidance_scale) == (CLAY, 1.0)
    future.set_result(whole)
    job, _ = await rig.engine.next(2)
    assert len(job.frames) == 12, "as many as the result said"
    assert rig.changes == 2, "when it was made and when it had left the model"


async def test_frames_are_seen_ahead_while_a_chunk_fills_and_in_its_turn_where_it_is_late(rig):
    _, future = await rig.engine.next(1)
    assert rig.engine.ahead == [(3, True), (6, True)]
    for number in range(2, 7):
        await asyncio.sleep(0.6)
        rig.engine.ahead.clear()
        future.set_result(result())
        _, future = await rig.engine.next(number)
    assert rig.engine.ahead == [(9, False)]


async def test_a_stream_that_is_paused_sees_nothing_ahead_and_takes_no_chunk_that_it_had_begun_to_see(rig):
    _, future = await rig.engine.next(1)
    for number in range(2, 6):
        await asyncio.sleep(0.6)
        future.set_result(result())
        _, future = await rig.engine.next(number)
    await asyncio.sleep(0.6)
    rig.engine.ahead.clear()
    rig.engine.on_look_ahead = rig.loop.pause
    future.set_result(result())
    await asyncio.sleep(5.0)
    assert rig.engine.ahead == [(9, False)] and len(rig.engine.jobs) == 5


async def test_a_stream_that_is_paused_while_its_chunk_fills_sees_no_more_of_it_ahead(rig):
    await until(lambda: rig.engine.ahead, "the first group")
    await asyncio.sleep(2.5 / 30)  # the next frame but one completes the second
    rig.loop.pause()
    await asyncio.sleep(1.0)
    assert rig.engine.ahead == [(3, True)]


async def test_the_planner_hears_what_becomes_of_each_chunk(rig):
    rig.ask(SetGuidance(id="1", scale=0.5))
    job, future = await rig.engine.next(1)
    assert job.slot.take().guidance_scale == 0.5 and len(rig.queue.waiting) == 1
    job.taken()
    assert rig.planner.is_busy and not rig.queue.waiting and rig.planner.parameters.scale == 1.0
    made = result()
    for first in (0, 4):
        job.add(piece(made, first, 4))
    assert rig.planner.is_busy and rig.planner.parameters.scale == 0.5 and rig.changes == 1
    rig.loop.pause()
    future.set_result(made)
    await until(lambda: not rig.planner.is_busy, "the chunk's end")
    (applied,) = rig.queue.shown(1, 0, 0, 0.0)
    assert applied.id == "1" and rig.changes == 2


async def test_each_picture_has_what_its_own_chunk_was_made_with(rig):
    for number, scale in enumerate((0.1, 0.2, 0.3)):
        rig.ask(SetGuidance(id=f"{number}", scale=scale))
        job, future = await rig.engine.next(number + 1)
        job.taken()
        made = result(len(job.frames), chunk=number, guidance_scale=scale / 2)
        for first in (0, 4, 8):
            job.add(piece(made, first, min(4, len(made.frames) - first)))
        count = len(rig.pacer)
        future.set_result(made)
        rig.ask(SetGuidance(id=f"later {number}", scale=2))  # of the next one
        pictures = [rig.pacer.pop(0.0)[0] for _ in range(count)]
        assert {(p.parameters.scale, p.guidance_scale) for p in pictures} == {(scale, scale / 2)}
        assert {picture.sequence for picture in pictures} == {number + 1} and count == len(made.frames)


async def test_pictures_of_a_refused_chunk_are_wanted_again_and_of_a_reset_as_many_as_it_says(rig):
    _, future = await rig.engine.next(1)
    future.set_exception(InputRejected("no such word"))
    job, future = await rig.engine.next(2)
    assert len(job.frames) == 9
    future.set_result(result())
    _, future = await rig.engine.next(3)
    future.set_exception(StreamWasReset("NaN", 9))
    job, _ = await rig.engine.next(4)
    assert len(job.frames) == 9
    assert rig.told == [("error", None)] * 2, "nobody's command, so all are told"


async def test_a_refused_command_is_answered_and_one_of_a_chunk_that_was_lost_waits_again(rig):
    rig.ask(SetPrompt(id="1", text="gold"))
    job, future = await rig.engine.next(1)
    job.slot.take()
    job.taken()
    future.set_exception(InputRejected("no such word"))
    _, future = await rig.engine.next(2)
    assert rig.told == [("error", "1")]
    rig.ask(SetPrompt(id="2", text="ice"))
    job = rig.engine.jobs[-1][0]
    job.slot.take()
    job.taken()
    assert not rig.queue.waiting
    future.set_exception(StreamWasReset("NaN", 9))
    job, _ = await rig.engine.next(3)
    assert job.slot.take().prompts == (("ice", 1.0),)
    assert rig.told[1:] == [("error", None)]


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
    assert not len(rig.pacer) and not rig.told and not rig.planner.is_busy


async def test_a_chunk_that_begins_in_a_pause_is_dropped_whole(rig):
    job, future = await rig.engine.next(1)
    whole = result()
    job.taken()
    rig.loop.pause()
    job.add(piece(whole, 0, 1))
    rig.loop.resume()
    job.add(piece(whole, 1, 8))
    assert not len(rig.pacer) and not rig.told
    future.set_result(whole)


async def test_a_switch_sweeps_what_waits(rig):
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result())
    future.set_result(result())
    rig.ask(SetPrompt(id="1", text="gold"))
    job, _ = await rig.engine.next(2)
    assert len(rig.pacer) == 9
    job.taken()
    for first in (0, 4, 8):
        job.add(piece(result(12, chunk=1), first, 4))
    assert len(rig.pacer) == 12, "and nothing of its own"


async def test_no_chunk_begins_in_a_pause(rig):
    _, future = await rig.engine.next(1)
    rig.loop.pause()
    future.set_result(result())
    await asyncio.sleep(5)
    assert rig.loop.is_paused and len(rig.engine.jobs) == 1
    rig.loop.resume()
    assert not rig.loop.is_paused and rig.loop.resumed_at == asyncio.get_running_loop().time()
    await rig.engine.next(2)


async def test_law_nothing_from_before_a_pause_is_shown_after_it(rig):
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result())
    future.set_result(result())
    rig.loop.pause()
    assert len(rig.pacer) == 0
    await asyncio.sleep(2)
    rig.loop.resume()
    now = asyncio.get_running_loop().time()
    job, _ = await rig.engine.next(2)
    job.taken()
    job.add(result(12, chunk=1))
    captured = rig.pacer.pop(0.0)[0].captured
    assert captured > now - 15 / 30, "frames of the pause are passed over"


async def test_a_pause_is_not_taken_for_the_pace_of_chunks_and_what_it_swept_is_counted(rig):
    dropped, now = [], asyncio.get_running_loop().time
    rig.meter.dropped_more = lambda place, count: dropped.append((place, count))
    rig.pacer.push([picture()] * 3, 0.1, now())
    await asyncio.sleep(0.5)
    rig.pacer.push([picture()] * 3, 0.1, now())
    assert rig.pacer.interval == pytest.approx(0.5)
    rig.loop.pause()
    assert dropped == [("stale", 6)]
    await asyncio.sleep(60)
    rig.loop.resume()
    rig.pacer.push([picture()] * 3, 0.1, now())
    assert rig.pacer.interval == pytest.approx(0.5)


async def test_the_clock_of_what_moves_by_itself_stands_still_in_a_pause(rig):
    await asyncio.sleep(1)
    rig.loop.pause()
    before = rig.loop.time()
    await asyncio.sleep(3)
    assert rig.loop.time() == before
    rig.loop.resume()
    await asyncio.sleep(1)
    assert rig.loop.time() == pytest.approx(before + 1)


async def test_what_moves_by_itself_is_asked_of_the_chunk_under_way_until_it_is_taken(rig):
    steps = [TimelineStep(at=at, text=text) for at, text in ((0, "a"), (5, "b"), (9, "c"))]
    rig.ask(SetTimeline(id="1", steps=tuple(steps)))
    job, future = await rig.engine.next(1)
    job.slot.take()
    job.taken()
    job.add(result())
    future.set_result(result())
    job, future = await rig.engine.next(2)
    refreshed, refresh = [], rig.planner.refresh
    rig.planner.refresh = lambda time: refreshed.append(round(time, 6)) or refresh(time)
    await asyncio.sleep(9.5)
    assert job.slot.take().prompts == (("c", 1.0),) and len(set(refreshed)) == 2, "when it moves alone"


@pytest.mark.parametrize("end", ["it is taken", "it is refused", "the session is closed"])
async def test_nothing_is_asked_of_a_chunk_after(rig, end):
    steps = (TimelineStep(at=0, text="a"), TimelineStep(at=5, text="b"), TimelineStep(at=9, text="c"))
    rig.ask(SetTimeline(id="1", steps=steps))
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result())
    future.set_result(result())
    job, future = await rig.engine.next(2)
    refreshed = []
    rig.planner.refresh = refreshed.append
    match end:
        case "it is taken":
            job.taken()
        case "it is refused":
            rig.loop.pause()  # and none begins
            future.set_exception(InputRejected("no such word"))
        case _:
            rig.tasks[0].cancel()
    await asyncio.sleep(20)
    assert not refreshed, "no timer is left"


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
    frames = job.to_rgb(job.frames)[-9:]
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
        made = result(len(job.frames), generation=generation)
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
    rig.loop.pause()
    future.set_result(made)
    await until(lambda: not rig.planner.is_busy, "the chunk's end")
    assert rig.loop.result is made and rig.changes == 1
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1, "paused"
    rig.loop.resume()
    await rig.engine.next(2)
    assert rig.planner.is_busy


@pytest.mark.parametrize("what", ["a pause", "another frame rate"])
async def test_what_comes_while_others_have_the_device_may_begin_no_chunk(rig, what):
    may_go = asyncio.Event()
    _, future = await rig.engine.next(1)
    rig.engine.idle = may_go.wait
    future.set_result(result())
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1, "the device is not free"
    rig.loop.pause() if what == "a pause" else rig.feed.limit_fps(1)
    may_go.set()
    await asyncio.sleep(5)
    assert len(rig.engine.jobs) == 1
    rig.loop.resume() if what == "a pause" else rig.feed.limit_fps(None)
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
    expected, longer = [], []
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
    rig.ask(SetPrompt(id="1", text="gold"))
    job, future = await rig.engine.next(2)
    assert expected[-1] == pytest.approx(0.75, abs=0.03), "half as long again for a new prompt"
    await asyncio.sleep(0.1)
    job.taken()
    assert expected[-1] == pytest.approx(0.65, abs=0.03) and longer == [pytest.approx(0.25, abs=0.02)]
    await asyncio.sleep(0.9)
    job.add(result(12, chunk=1))
    rig.ask(SetPrompt(id="2", text="ice"))
    future.set_result(result(12, chunk=1, frames_wanted=12))
    job, future = await rig.engine.next(3)
    assert expected[-1] == pytest.approx(1.0, abs=0.05), "as long as the last one took"
    rig.ask(SetPrompt(id="3", text="ice", transition="blend"))  # instead of it
    job.taken()
    job.add(result(12, chunk=2))
    future.set_result(result(12, chunk=2, frames_wanted=12))
    _, _ = await rig.engine.next(4)
    assert expected[-1] < 0.1, "as long as the last one without"
    assert len(longer) == 1, "others are told of a new prompt alone"


async def test_a_refusal_that_no_command_explains_is_told_all_the_same(rig, caplog):
    _, future = await rig.engine.next(1)
    future.set_exception(InputRejected("no such pixel format"))
    _, future = await rig.engine.next(2)
    future.set_exception(StreamWasReset("NaN", 9))
    await rig.engine.next(3)
    assert [(reply.code, reply.message) for reply in rig.replies] == [
        ("rejected", "no such pixel format"),
        ("reset", "NaN"),
    ]
    assert "Chunk 1 of the session: no such pixel format" in caplog.text


async def test_whose_command_was_refused_is_told(rig):
    rig.ask(SetPrompt(id="7", text="gold"))
    job, future = await rig.engine.next(1)
    job.taken()
    future.set_exception(InputRejected("no such word"))
    await rig.engine.next(2)
    assert rig.replies == [ErrorReply(id="7", code="rejected", message="no such word")]


async def test_what_a_refused_chunk_was_asked_waits_again_or_is_refused(rig):
    rig.ask(SetPrompt(id="1", text="gold"))
    rig.ask(SetSeed(id="2", mode="random"))
    job, future = await rig.engine.next(1)
    job.slot.take()
    job.taken()
    rig.ask(SetSeed(id="3", mode="fixed"))
    future.set_exception(InputRejected("no such word"))
    await rig.engine.next(2)
    refused = ErrorReply(id="1", code="rejected", message="no such word")
    assert rig.replies == [refused, Superseded(id="2", by="3")]
    assert [command.id for command in rig.queue.waiting] == ["3"] and rig.changes == 1


async def test_what_a_lost_chunk_was_asked_waits_again_and_who_was_replaced_is_told(rig):
    rig.ask(SetPrompt(id="1", text="gold", transition="blend", chunks=8))
    job, future = await rig.engine.next(1)
    job.taken()
    job.add(result(chunk=5))
    future.set_result(result(chunk=5))
    assert rig.planner.parameters.transition is not None
    rig.ask(SetPrompt(id="2", text="ice"))
    job, future = await rig.engine.next(2)
    job.slot.take()
    job.taken()
    rig.ask(SetPrompt(id="3", text="clay"))
    future.set_exception(StreamWasReset("NaN", 9))
    job, _ = await rig.engine.next(3)
    assert rig.told == ["frames", ("superseded", "2"), ("error", None)] and rig.replies[0].by == "3"
    assert rig.planner.parameters.transition is None, "the blend is over"
    assert job.slot.take().prompts == (("clay", 1.0),)
