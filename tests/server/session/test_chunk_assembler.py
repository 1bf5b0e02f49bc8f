"""Laws of the chunk assembler, for any camera: time never runs back, newest wins, motion is even."""

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.session.chunk_assembler import Chunk, ChunkAssembler, ChunkNotReady

FIRST, LATER = 9, 12


class Camera:
    """Frames are their own times, so a chunk's payload can be compared with its times."""

    def __init__(self, assembler: ChunkAssembler[float]) -> None:
        self.assembler = assembler
        self.chunks: list[Chunk[float]] = []
        self.accepted: list[float] = []

    def push(self, time: float) -> None:
        if not self.accepted or time > self.accepted[-1]:
            self.accepted.append(time)
        self.assembler.push(time, time)

    def take_if_ready(self, now: float) -> None:
        count = LATER if self.chunks else FIRST
        ready = self.assembler.ready_at(count, now)
        if ready is not None and ready <= now:
            self.chunks.append(self.assembler.take(count, now))


def steady(fps: float, seconds: float, *, start: float = 0.0) -> list[float]:
    return [start + index / fps for index in range(math.floor(seconds * fps + 1e-9) + 1)]


def run(times: list[float], *, capacity: int = 200, max_fps: float = 16) -> Camera:
    """Feed `times` and take each chunk as soon as it is ready."""
    camera = Camera(ChunkAssembler(capacity=capacity, max_fps=max_fps))
    for time in times:
        camera.push(time)
        camera.take_if_ready(time)
    return camera


# One entry per camera frame: seconds since the frame before (jitter, pauses, clocks that step back), and
# whether the generator happens to be free when it arrives.
steps = st.one_of(st.floats(0.001, 0.2), st.floats(0.2, 20), st.floats(-0.1, 0))
arrivals = st.lists(st.tuples(steps, st.booleans()), max_size=120)
capacities = st.integers(1, 64)
rates = st.floats(4, 60)


def play(script: list[tuple[float, bool]], capacity: int, max_fps: float) -> Camera:
    camera = Camera(ChunkAssembler(capacity=capacity, max_fps=max_fps))
    now = 1000.0
    for step, is_generator_free in script:
        now += step
        camera.push(now)
        if is_generator_free:
            camera.take_if_ready(now)
        assert camera.assembler.held <= capacity
    return camera


@given(arrivals, capacities, rates)
def test_chunks_never_go_back_in_time_and_end_at_the_newest_frame(script, capacity, max_fps):
    camera = Camera(ChunkAssembler(capacity=capacity, max_fps=max_fps))
    now, previous_end = 0.0, -math.inf
    for step, is_generator_free in script:
        now += step
        camera.push(now)
        before = len(camera.chunks)
        if is_generator_free:
            camera.take_if_ready(now)
        for chunk in camera.chunks[before:]:
            assert len(chunk.frames) == len(chunk.times) == (LATER if before else FIRST)
            assert chunk.frames == chunk.times
            assert all(older <= newer for older, newer in pairwise(chunk.times))
            assert chunk.times[0] > previous_end or not before
            assert chunk.times[-1] == chunk.end == camera.accepted[-1]
            assert previous_end <= chunk.start < chunk.end
            previous_end = chunk.end


@given(arrivals, capacities, rates)
def test_every_frame_is_used_held_or_counted_as_dropped(script, capacity, max_fps):
    camera = play(script, capacity, max_fps)
    assembler = camera.assembler
    assert assembler.pushed == len(script)
    assert assembler.used == len({time for chunk in camera.chunks for time in chunk.times})
    assert assembler.pushed == assembler.used + assembler.held + assembler.dropped
    assert assembler.out_of_order == len(script) - len(camera.accepted)


@given(arrivals, capacities, rates)
@example([(1 / 300, True)] * 119, 64, 60.0)  # a camera whose frames lie nearer than the lead of a chunk
def test_output_is_never_faster_than_max_fps(script, capacity, max_fps):
    camera = play(script, capacity, max_fps)
    for chunk in camera.chunks:
        assert chunk.span >= (len(chunk.frames) - 0.5) / max_fps - 1e-5
    # However long it goes on, it is never more than half a frame ahead.
    frames = 0
    for chunk in camera.chunks:
        frames += len(chunk.frames)
        assert chunk.end - camera.accepted[0] >= (frames - 0.5) / max_fps - 1e-3


@given(arrivals, rates)
def test_no_gap_and_no_repetition_beyond_what_the_sampling_implies(script, max_fps):
    camera = play(script, len(script) + 1, max_fps)  # nothing is lost to a full ring
    previous_end = -math.inf
    for chunk in camera.chunks:
        step = chunk.span / len(chunk.frames)
        held = [time for time in camera.accepted if previous_end < time <= chunk.end]
        begin = held[0] if math.isinf(previous_end) else previous_end
        gaps = {newer: newer - older for older, newer in pairwise([begin, *held])}
        for older, newer in pairwise(chunk.times):
            following = next((time for time in held if time > newer), newer)
            nearby = [gaps[time] for time in held if older <= time <= following]
            if older == newer:
                assert max(nearby) >= step - 1e-9
            else:
                assert newer - older <= step + max(nearby) + 1e-9
        previous_end = chunk.end


@given(st.floats(1, 60), st.floats(5, 30), st.integers(0, 2**32 - 1))
def test_a_jittery_camera_gives_chunks_for_ever_without_falling_behind(fps, max_fps, seed):
    # Any camera from 1 to 60 fps: the stream keeps pace, and a taken chunk always reaches the newest frame.
    noise = [((seed * (index + 1) * 2654435761) % 1000) / 1000 - 0.5 for index in range(400)]
    times = [index / fps + 0.8 * noise[index] / fps for index in range(400)]
    camera = run(sorted(times), max_fps=max_fps)
    waits = [newer.end - older.end for older, newer in pairwise(camera.chunks)]
    slowest = LATER / max_fps + LATER / max_fps + 4 / fps
    assert waits and max(waits) <= slowest


def test_a_camera_of_max_fps_that_shakes_a_little_loses_no_frame():
    # 400 frames, each up to 5 ms early or late.
    shaken = [index / 30 + 0.005 * math.sin(7 * index) for index in range(400)]
    camera = run(shaken, max_fps=30)
    assert camera.assembler.passed_over <= 2  # at the start
    assert {round(newer.end * 30) - round(older.end * 30) for older, newer in pairwise(camera.chunks)} == {
        LATER
    }


@pytest.mark.parametrize("fps", [24, 25, 29.97])
def test_a_camera_a_little_slower_than_max_fps_sets_the_pace(fps):
    camera = run([index / fps + 0.003 * math.sin(7 * index) for index in range(300)], max_fps=30)
    assert camera.chunks[1:] and camera.assembler.passed_over <= 2
    assert all(len(set(chunk.times)) == len(chunk.times) for chunk in camera.chunks[1:])


def test_the_first_chunk_has_nine_and_later_ones_twelve_frames():
    camera = run(steady(30, 4))
    assert [len(chunk.frames) for chunk in camera.chunks] == [9, 12, 12, 12, 12]


@pytest.mark.parametrize("fps", [15, 16])
@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_a_camera_at_max_fps_loses_and_repeats_nothing(start, fps):
    camera = run(steady(fps, 10, start=start), max_fps=fps)
    assert camera.assembler.dropped <= 1  # the very first frame lies before the first span
    assert [newer.start for newer in camera.chunks[1:]] == [older.end for older in camera.chunks[:-1]]
    for chunk in camera.chunks:
        assert len(set(chunk.times)) == len(chunk.times)


def test_a_faster_camera_is_thinned_evenly():
    camera = run(steady(60, 5), max_fps=16)
    for chunk in camera.chunks:
        gaps = {round((newer - older) * 60) for older, newer in pairwise(chunk.times)}
        assert gaps <= {3, 4}  # 60 / 16 = 3.75 camera frames apart


def test_a_slow_camera_repeats_its_frames_evenly():
    camera = run(steady(8, 5), max_fps=16)
    for chunk in camera.chunks[1:]:
        assert [chunk.times.count(time) for time in sorted(set(chunk.times))] == [2] * 6


def test_a_slow_generator_gets_fewer_frames_a_second_never_older_ones():
    camera = Camera(ChunkAssembler(capacity=200, max_fps=16))
    for index, time in enumerate(steady(30, 20)):
        camera.push(time)
        if index % 96 == 0:  # free every 3.2 seconds
            camera.take_if_ready(time)
    assert [round(chunk.span, 6) for chunk in camera.chunks[1:]] == [3.2] * 5
    for chunk in camera.chunks[1:]:
        assert {round(newer - older, 6) for older, newer in pairwise(chunk.times)} == {round(8 / 30, 6)}


def test_a_full_ring_shortens_the_span_to_what_it_holds():
    camera = run(steady(30, 1), capacity=60)
    for time in steady(30, 10, start=1.1):
        camera.push(time)
    camera.take_if_ready(camera.accepted[-1])
    chunk = camera.chunks[-1]
    assert chunk.span == pytest.approx(2.0)  # 60 frames
    assert camera.assembler.overflowed == 301 - 60 + len(
        [t for t in steady(30, 1) if t > camera.chunks[0].end]
    )


@pytest.mark.parametrize("fps", [30.0, 60.0, 120.0])
def test_law_a_full_ring_covers_its_reach_evenly_however_fast_the_camera(fps):
    assembler = ChunkAssembler[float](capacity=48, max_fps=30, reach=1.6)
    assembler.push(0.0, 0.0)
    for time in steady(fps, 1.0, start=0.5):
        assembler.push(time, time)
    assembler.take(FIRST, 1.5)
    for time in steady(fps, 9.0, start=1.5)[1:]:
        assembler.push(time, time)
        assert assembler.held <= 48
    chunk = assembler.take(LATER, 10.5)
    between = [after - before for before, after in pairwise(chunk.times)]
    assert chunk.end == 10.5
    assert 1.6 - 2 / fps <= chunk.span <= 1.6 + 2 / 30
    assert max(between) <= chunk.span / LATER + 2 / 30, "motion is even"


@given(st.integers(3, 48), st.floats(31, 240), st.floats(0.1, 3.0))
def test_law_of_what_is_within_reach_the_oldest_frame_and_the_newest_stay(capacity, fps, seconds):
    assembler = ChunkAssembler[float](capacity=capacity, max_fps=30, reach=seconds)
    times = steady(fps, seconds - 1 / fps)
    for time in times:
        assembler.push(time, time)
    held = [time for time, _ in assembler._ring]
    assert (held[0], held[-1], len(held)) == (times[0], times[-1], min(capacity, len(times)))
    assert assembler.pushed == assembler.used + assembler.held + assembler.dropped
    if len(held) > 2:
        gaps = [after - before for before, after in pairwise(held)]
        assert max(gaps) <= 4 * seconds / (capacity - 1) + 2 / fps


def test_the_first_chunk_is_the_latest_moment_however_long_the_warm_up_took():
    camera = Camera(ChunkAssembler(capacity=90, max_fps=18))
    for time in steady(30, 60):
        camera.push(time)
    camera.take_if_ready(60)
    [chunk] = camera.chunks
    assert (chunk.start, chunk.end) == (pytest.approx(59.5), 60)
    assert chunk.times[0] > 59.5


def test_the_first_chunk_waits_for_its_whole_span():
    assembler = ChunkAssembler[float](capacity=90, max_fps=18)
    for time in steady(30, 0.45):
        assembler.push(time, time)
    assert assembler.ready_at(FIRST, 100.0) is None
    assembler.push(0.5, 0.5)
    assert assembler.ready_at(FIRST, 0.6) == 0.6


@pytest.mark.parametrize("last", [1.4, 2.0])  # few and many frames of the next chunk came before the pause
def test_a_camera_pause_is_not_played_again(last):
    camera = run(steady(30, last) + steady(30, 3, start=9.0))
    resumed = next(chunk for chunk in camera.chunks if chunk.end >= 9)
    assert resumed.end <= 9.0 + 3 / 30  # without waiting for a whole chunk of new frames
    assert max(chunk.span for chunk in camera.chunks) < 0.8  # neither at once nor later


def test_a_very_slow_camera_goes_with_the_frames_it_has():
    assembler = ChunkAssembler[float](capacity=90, max_fps=16)
    for time in steady(30, 1):
        assembler.push(time, time)
    assembler.take(FIRST, 1.0)
    assembler.push(2.0, 2.0)
    assert assembler.ready_at(LATER, 2.0) == 2.75
    with pytest.raises(ChunkNotReady, match=r"1 new ones: ready at 2\.750 s"):
        assembler.take(LATER, 2.5)
    assert assembler.ready_at(LATER, 2.8) == 2.8
    assert assembler.take(LATER, 2.8).times == (2.0,) * LATER


def test_take_before_anything_came_says_so():
    with pytest.raises(ChunkNotReady, match="no chunk of 9 frames .* another frame is needed"):
        ChunkAssembler[float](capacity=8, max_fps=16).take(FIRST, 0.0)


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf, 1.0, 0.5])
def test_a_frame_that_is_not_newer_is_dropped_and_counted(time):
    assembler = ChunkAssembler[str](capacity=8, max_fps=16)
    assembler.push("good", 1.0)
    assembler.push("bad", time)
    assert (assembler.held, assembler.out_of_order, assembler.dropped) == (1, 1, 1)


@pytest.mark.parametrize(("capacity", "max_fps"), [(0, 16), (8, 0), (8, math.nan), (8, math.inf)])
def test_impossible_settings_are_refused(capacity, max_fps):
    with pytest.raises(ValueError, match="expected"):
        ChunkAssembler[str](capacity=capacity, max_fps=max_fps)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="count: expected at least 1 frame, got 0"):
        ChunkAssembler[str](capacity=8, max_fps=16).ready_at(0, 0.0)


# ---- what a chunk waits for ----


def filled(times: list[float], *, capacity: int = 200, max_fps: float = 16) -> ChunkAssembler[float]:
    assembler = ChunkAssembler[float](capacity=capacity, max_fps=max_fps)
    for time in times:
        assembler.push(time, time)
    return assembler


def test_the_newest_frame_may_be_half_a_sample_too_early_and_no_more() -> None:
    whole = FIRST / 16
    assert filled([0.0, 0.25, whole - 0.5 / 16]).ready_at(FIRST, 5.0) == 5.0
    assert filled([0.0, 0.25, whole - 0.5 / 16 - 1e-6]).ready_at(FIRST, 5.0) is None


@pytest.mark.parametrize(("count", "needed"), [(LATER, 4), (FIRST, 3), (10, 4), (1, 1)])
def test_a_third_of_the_frames_must_be_new_or_the_oldest_waits(count: int, needed: int) -> None:
    """The third is rounded up."""
    for new in (needed - 1, needed):
        assembler = filled(steady(64, 1))
        assembler.take(FIRST, 1.0)
        for number in range(new):
            assembler.push(3.0 + number / 64, 3.0 + number / 64)
        now = 3.0 + new / 64
        late = 3.0 + count / 16 if new else None
        assert assembler.ready_at(count, now) == (now if new == needed else late)


@pytest.mark.parametrize("capacity", [1, 3])
def test_a_ring_too_small_for_a_third_of_the_frames_need_only_be_full(capacity: int) -> None:
    assembler = filled([0.0, 1.0], capacity=capacity)
    assembler.take(FIRST, 1.0)
    for number in range(capacity):
        assembler.push(3.0 + number / 64, 3.0 + number / 64)
    assert assembler.ready_at(LATER, 3.1) == 3.1


def test_of_two_frames_as_near_the_newer_is_taken() -> None:
    assembler = filled([0.5, 1.5, 2.0], max_fps=1)
    assert assembler.take(2, 2.0).times == (1.5, 2.0)  # asked for at 1 and 2


# ---- after nobody wanted frames ----


def test_after_a_skip_the_next_chunk_is_the_latest_moment_alone_and_the_one_after_it_all_again() -> None:
    camera = Camera(filled(steady(32, 2)))
    camera.take_if_ready(2.0)
    for time in steady(32, 2, start=2 + 1 / 32):
        camera.push(time)
    now, dropped = camera.accepted[-1], camera.assembler.dropped
    camera.assembler.skip_to_latest()
    assert camera.assembler.ready_at(LATER, now) == now and camera.assembler.dropped == dropped
    camera.take_if_ready(now)
    skipped = camera.chunks[-1]
    assert skipped.span == LATER / 16 and (skipped.start, skipped.end) == (now - LATER / 16, now)
    assert skipped.times == tuple(now - number / 16 for number in reversed(range(LATER)))
    assert camera.assembler.held == 0 and camera.assembler.dropped == dropped + 65 - LATER
    for time in steady(32, 2, start=now + 1 / 32):
        camera.push(time)
    camera.take_if_ready(camera.accepted[-1])
    assert camera.chunks[-1].start == now and camera.chunks[-1].span == pytest.approx(2, abs=0.05)


def test_a_skip_before_a_chunk_is_ready_makes_it_no_earlier() -> None:
    assembler = filled(steady(16, 1))
    assembler.take(FIRST, 1.0)
    for time in steady(16, 0.5, start=1 + 1 / 16):
        assembler.push(time, time)
    assembler.skip_to_latest()
    assert assembler.ready_at(LATER, 2.0) is None


# ---- rates ----


def test_another_limit_counts_from_the_next_chunk_on() -> None:
    assembler = filled(steady(32, 1))
    assembler.take(FIRST, 1.0)
    assembler.limit_fps(8)
    for time in steady(32, 1.375, start=1 + 1 / 32):
        assembler.push(time, time)
    assert assembler.ready_at(LATER, 5.0) is None  # a frame before half a sample before 12 / 8 s
    assembler.push(2.4375, 2.4375)
    slow = assembler.take(LATER, 5.0)
    assert slow.span == 1.4375 and {b - a for a, b in pairwise(slow.times)} == {0.125}
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="max_fps: expected a positive number"):
            assembler.limit_fps(wrong)
    assembler.limit_fps(32)
    for time in steady(32, 0.375, start=2.5):  # the chunk before has been paid for with 12 / 8 s
        assembler.push(time, time)
    assert assembler.ready_at(LATER, 5.0) == 5.0


@pytest.mark.parametrize(("fps", "sets_the_pace"), [(18, True), (16.5, False)])
def test_beyond_seven_quarters_of_a_frame_a_camera_is_too_slow_to_set_the_pace(
    fps: float, sets_the_pace: bool
) -> None:
    chunks = run(steady(fps, 10), max_fps=30).chunks[1:]
    assert chunks
    for chunk in chunks:
        assert (len(set(chunk.times)) == len(chunk.times)) == sets_the_pace


def pace_of(times: list[float]) -> float:
    """Seconds from frame to frame that the next chunk is spaced by, for a camera a little slower than 30."""
    assembler = filled(times, max_fps=30)
    assembler.skip_to_latest()
    return assembler.take(LATER, math.inf).span / LATER


def test_the_pace_is_the_cameras_and_not_that_of_its_pauses() -> None:
    paused = [number / 24 + number // 24 for number in range(480)]  # a second lost in every second
    for time in (steady(24, 20), paused):
        assert pace_of(time) == pytest.approx(1 / 24, rel=0.05)


def test_one_late_frame_hardly_changes_the_pace_and_another_rate_does_soon() -> None:
    begun = steady(24, 20)
    assert pace_of([*begun, begun[-1] + 1.5 / 24]) == pytest.approx(1 / 24, rel=0.01)
    slower = [*begun, *steady(20, 128 / 20, start=begun[-1] + 1 / 20)]
    assert 0.75 < (pace_of(slower) - 1 / 24) / (1 / 20 - 1 / 24) < 0.95


def test_a_frame_without_a_time_says_nothing_of_the_pace() -> None:
    good = steady(24, 1)
    assert pace_of([math.nan, *good]) == pace_of(good)
    assert pace_of([*good[:9], good[3], *good[9:]]) == pytest.approx(pace_of(good), rel=1e-9)


@pytest.mark.parametrize("fps", [30, 60])
def test_a_camera_as_fast_as_max_fps_or_faster_is_spaced_by_max_fps(fps: float) -> None:
    assert pace_of(steady(fps, 4)) == pytest.approx(1 / 30)


# ---- what a chunk will have ----


@pytest.mark.parametrize("since", [2, 3])
@pytest.mark.parametrize(
    ("fps", "max_fps", "wrong"),
    [
        (30, 30, 0),
        (25, 30, 0),
        (24, 30, 0),
        (60, 60, 0),
        (12, 30, 0),
        (30, 16, 0),
        (24, 16, 0.2),
    ],
)
def test_law_what_is_expected_of_an_even_camera_is_taken(
    fps: float, max_fps: float, wrong: float, since: int
) -> None:
    """Asked `since` frames after each chunk. Where two frames are as near to a sample, or one may just be
    early enough, chance decides."""
    camera, expected = Camera(ChunkAssembler(capacity=48, max_fps=max_fps)), ()
    in_all = in_vain = 0
    for time in steady(fps, 30.0):
        camera.push(time)
        camera.take_if_ready(time)
        if camera.assembler.held == since:
            expected = camera.assembler.expected(LATER)
        elif not camera.assembler.held and len(camera.chunks) > 1:
            in_all += len(expected)
            in_vain += len(set(expected) - set(camera.chunks[-1].frames))
    assert in_all >= 0.9 * len(camera.chunks)
    assert in_vain <= wrong * in_all


def test_expected_frames_change_nothing_and_come_once_each() -> None:
    camera = run(steady(8, 10.0), max_fps=16)  # each frame is chosen more than once
    before = camera.assembler.pushed, camera.assembler.held, camera.assembler.used
    expected = camera.assembler.expected(LATER)
    assert expected == camera.assembler.expected(LATER)
    assert list(expected) == sorted(set(expected))
    assert before == (camera.assembler.pushed, camera.assembler.held, camera.assembler.used)
    frozen: ChunkAssembler[str] = ChunkAssembler(capacity=48, max_fps=16)
    for time in steady(16, 0.5):
        frozen.push("the one picture", time)
    assert frozen.expected(LATER) == ("the one picture",)


def test_nothing_is_expected_before_the_pace_of_the_camera_is_known() -> None:
    assembler: ChunkAssembler[float] = ChunkAssembler(capacity=48, max_fps=16)
    assert assembler.expected(FIRST) == ()
    assembler.push(0.0, 0.0)
    assert assembler.expected(FIRST) == ()


def test_a_chunk_that_is_taken_later_is_expected_to_pass_over_frames() -> None:
    assembler: ChunkAssembler[int] = ChunkAssembler(capacity=48, max_fps=30)
    for frame in range(13):
        assembler.push(frame, frame / 30)
    assembler.take(LATER, 12 / 30)
    for frame in range(13, 22):
        assembler.push(frame, frame / 30)
    assert assembler.expected(LATER) == tuple(range(13, 22))
    assert assembler.expected(LATER, until=36 / 30 + 0.001) == (14, 16, 18, 20)
    assert assembler.expected(LATER, until=1e9) != (), "whatever is claimed, no more than a ring is looked at"


def test_the_lag_is_what_each_of_three_chunks_took_longer_than_the_camera_but_for_a_frame() -> None:
    assembler: ChunkAssembler[int] = ChunkAssembler(capacity=48, max_fps=30)
    lags, frame = [], 0
    for length in (13, 15, 16, 15, 13, 18):
        for _ in range(length):
            assembler.push(frame, frame / 30)
            frame += 1
        assembler.take(LATER, frame / 30)
        lags.append(assembler.lag * 30)
    assert lags == pytest.approx([0, 0, 0, 2, 0, 0], abs=1e-6)
