from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.media.margin import CHUNKS, TOLERATED_S
from server.media.pacing import CLOCK_RATE_HZ, FASTEST, LATE_LIMIT_S, MediaClock, Pacer

FRAMES = 12


@dataclass(frozen=True)
class Sent:
    picture: tuple[int, int]  # chunk, frame
    pts: int
    at: float
    waited: float  # seconds since its chunk arrived
    spacing: float


def play(intervals, spans=None, *, told=None, frames=FRAMES, oversleep=0.0, apart=None):
    """Chunks arrive after each of `intervals`; every frame is sent when due, `oversleep` late. With `told`
    the pacer hears at each arrival after how many seconds the next one is expected. With `apart` thirds of a
    chunk arrive one after the other, so many seconds apart.

    Returns the frames sent, the pacer, and the most frames it ever held.
    """
    pacer, now, sent, most = Pacer(MediaClock()), 0.0, [], 0
    arrivals = []
    for interval in intervals:
        arrivals.append((arrivals[-1] if arrivals else 0.0) + interval)
    pieces = [(arrival, number, 0, frames) for number, arrival in enumerate(arrivals)]
    if apart is not None:
        third = frames // 3
        pieces = [(at + n * apart, number, n * third, third) for at, number, *_ in pieces for n in range(3)]
    for index, (arrival, number, first, count) in enumerate(pieces):
        pictures = [(number, first + k) for k in range(count)]
        if first:
            pacer.extend(pictures, arrival)
        else:
            pacer.push(pictures, (spans or intervals)[number], arrival, of=frames)
            if told is not None and number < len(told):
                pacer.expect(arrival + told[number], arrival)
        most = max(most, len(pacer))
        now = max(now, arrival)
        following = pieces[index + 1][0] if index + 1 < len(pieces) else float("inf")
        while (due := pacer.due()) is not None and max(now, due) + oversleep < following:
            now = max(now, due) + oversleep
            spacing = pacer.spacing
            picture, pts = pacer.pop(now)
            sent.append(Sent(picture, pts, now, now - arrivals[picture[0]], spacing))
    return sent, pacer, most


intervals = st.lists(st.floats(0.2, 3.0), min_size=2, max_size=40)


@given(intervals, st.floats(0, 0.02))
def test_law_order_kept_and_pts_strictly_increasing(gaps, oversleep):
    sent, _, _ = play(gaps, oversleep=oversleep)
    assert [s.picture for s in sent] == sorted(s.picture for s in sent)
    assert all(b.pts > a.pts for a, b in zip(sent, sent[1:], strict=False))


@given(intervals)
def test_law_every_picture_is_sent_or_counted_as_dropped(gaps):
    sent, pacer, _ = play(gaps)
    assert len(sent) + pacer.dropped == FRAMES * len(gaps)


@given(intervals, st.floats(0, 0.02))
def test_law_queue_never_holds_more_than_two_chunks(gaps, oversleep):
    _, _, most = play(gaps, oversleep=oversleep)
    assert most <= 2 * FRAMES


@given(intervals, st.floats(0, 0.02))
def test_law_no_bursts(gaps, oversleep):
    """Two frames are never closer than half the spacing in force."""
    sent, _, _ = play(gaps, oversleep=oversleep)
    assert all(b.at - a.at >= b.spacing / 2 - 1e-9 for a, b in zip(sent, sent[1:], strict=False))


@given(intervals)
def test_law_pts_follow_the_clock(gaps):
    """Media time and sending time differ by no more than the allowed lateness, however long the stream."""
    sent, _, _ = play(gaps)
    offsets = [s.at - s.pts / CLOCK_RATE_HZ for s in sent]
    assert max(offsets) - min(offsets) <= LATE_LIMIT_S + 1e-3


@settings(max_examples=50)
@given(st.floats(0.3, 2.0), st.lists(st.floats(-0.1, 0.1), min_size=60, max_size=60), st.booleans())
def test_law_latency_does_not_grow(period, jitter, is_told):
    """With arrivals that jitter around a period, frames wait less than that and the margin."""
    gaps = [period * (1 + j) for j in jitter]
    sent, pacer, _ = play(gaps, spans=[period] * len(gaps), told=[period] * len(gaps) if is_told else None)
    steady = [s for s in sent if s.picture[0] > 5]
    assert pacer.dropped == 0
    assert max(s.waited for s in steady) < 1.5 * period + LATE_LIMIT_S
    late = [s.waited for s in sent if s.picture[0] >= 50]
    early = [s.waited for s in sent if 10 <= s.picture[0] < 20]
    assert max(late) < max(early) + 0.5 * period


@given(st.floats(0.2, 0.45))
def test_law_a_model_that_speeds_up_is_followed(fast):
    """Slow chunks, then fast ones: the backlog is gone within a few chunks, not carried along."""
    sent, _, _ = play([1.0] * 10 + [fast] * 20)
    assert max(s.waited for s in sent if s.picture[0] >= 20) < 1.5 * fast + LATE_LIMIT_S


@given(intervals, st.floats(0.1, 1 / FASTEST))
def test_law_what_was_foreseen_is_no_freeze(gaps, share):
    """However unlike the intervals, and the time filmed: pictures move until the next chunk is there."""
    sent, _, _ = play(gaps, spans=[share * min(gaps)] * len(gaps), told=[*gaps[1:], gaps[-1]])
    between = [b.at - a.at for a, b in zip(sent, sent[1:], strict=False)]
    assert max(between) <= (max(gaps) + LATE_LIMIT_S) / FRAMES + 1e-9


@given(st.floats(0.3, 1.0), st.floats(0.0, 0.9), st.floats(0.0, 2.0))
def test_law_news_of_a_delay_slows_down_what_is_left(period, when, delay):
    """Told amid a chunk that the next one will be late, the pacer makes what it still has last until then."""
    pacer, clock_s = Pacer(MediaClock()), 0.0
    pacer.push(list(range(FRAMES)), period, 0.0)
    pacer.expect(period, 0.0)
    while (due := max(pacer.due(), clock_s)) < when * period:
        pacer.pop(due)
        clock_s = due
    until, left, sent = period + delay, len(pacer), []
    pacer.expect(until, when * period)
    while pacer.due() is not None:
        sent.append(max(pacer.due(), when * period))
        pacer.pop(sent[-1])
    gaps = [b - a for a, b in zip([clock_s, *sent], [*sent, until], strict=True)]
    assert len(sent) == left
    assert max(gaps) <= (until - clock_s) / (left + 1) + LATE_LIMIT_S + 1e-9


def test_late_chunks_leave_a_margin_early_ones_none():
    margins = {}
    for off in (-0.15, 0.0, 0.15):
        pacer = Pacer(MediaClock())
        for arrival in (0.5 * n for n in range(9)):
            pacer.push(range(FRAMES), 0.5, arrival)
            pacer.expect(arrival + 0.5 - off, arrival)
            while pacer.due() is not None:
                pacer.pop(max(pacer.due(), arrival))
        margins[off] = pacer.margin
    assert margins == pytest.approx({-0.15: 0.0, 0.0: 0.0, 0.15: 0.15 - TOLERATED_S})


@pytest.mark.parametrize("period", [0.3, 0.5, 1.0, 1.5])
def test_a_steady_stream_is_even_and_never_dry(period):
    sent, pacer, _ = play([period] * 30)
    gaps = [b.at - a.at for a, b in zip(sent, sent[1:], strict=False) if a.picture[0] > 5]
    assert gaps == pytest.approx([period / FRAMES] * len(gaps), rel=1e-6)
    assert pacer.dropped == 0


def test_of_mild_jitter_no_more_is_seen_than_is_tolerated():
    gaps = [0.5, 0.53, 0.47, 0.52, 0.48, 0.5] * 8
    sent, _, _ = play(gaps, spans=[0.5] * len(gaps), told=[0.5] * len(gaps))
    steady = [s for s in sent if s.picture[0] > 10]
    longest = max(b.at - a.at for a, b in zip(steady, steady[1:], strict=False))
    assert longest < 0.5 / FRAMES + TOLERATED_S


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 0.39), min_size=12, max_size=80), st.booleans())
def test_law_a_chunk_makes_a_freeze_only_if_it_is_later_than_all_of_late(late, in_pieces):
    """Later by more than a tenth of a second than those that count, or than any margin could bridge."""
    period = 0.4
    gaps = [period, *(period + after - before for before, after in pairwise([0.0, *late]))]
    told = [period - before for before in [0.0, *late]]  # when the next one would come, had it not been late
    sent, _, _ = play(gaps, spans=[period] * len(gaps), told=told, apart=0.01 if in_pieces else None)
    first = {number: at for (number, frame), at in ((s.picture, s.at) for s in sent) if frame == 0}
    last = {number: at for (number, frame), at in ((s.picture, s.at) for s in sent) if frame == FRAMES - 1}
    for number in range(3, len(late) + 1):
        if number in first and number - 1 in last and first[number] - last[number - 1] > 0.2:
            bridged = [one for one in late[: number - 1] if one <= period / 2 + TOLERATED_S]
            assert late[number - 1] > min(max(bridged, default=0.0) + 0.1, period / 2)


def test_a_backlog_is_played_twice_as_fast_at_most():
    pacer = Pacer(MediaClock())
    for arrival in (0.0, 0.01):
        pacer.push(range(FRAMES), 0.5, arrival)
        pacer.expect(arrival + 0.02, arrival)
        assert pacer.spacing == pytest.approx(0.5 / FRAMES / 2)


def test_of_a_time_that_is_over_nothing_follows():
    """Neither for what waits, nor for how late the next chunk is said to be."""
    told, untold = Pacer(MediaClock()), Pacer(MediaClock())
    for pacer in (told, untold):
        pacer.push(range(FRAMES), 0.5, 1.0)
    told.expect(1.0, 1.0)
    told.expect(0.2, 1.1)
    assert told.spacing == untold.spacing
    for pacer in (told, untold):
        pacer.push(range(FRAMES), 0.5, 1.5)
    assert told.spacing == untold.spacing


def test_what_was_expected_of_one_chunk_is_not_expected_of_the_next():
    pacer, untold = Pacer(MediaClock()), Pacer(MediaClock())
    for one in (pacer, untold):
        one.push(range(FRAMES), 0.5, 0.0)
    pacer.expect(0.5, 0.0)
    for arrival in (0.5, 1.5, 2.5):  # only the first is as expected, of the others nothing was said
        for one in (pacer, untold):
            one.clear()
            one.push(range(FRAMES), 0.5, arrival)
    assert pacer.spacing == untold.spacing


def test_a_late_chunk_makes_the_pictures_that_follow_last_longer_by_the_margin():
    pacer = Pacer(MediaClock())
    pacer.push(range(FRAMES), 0.5, 0.0)
    pacer.expect(0.5, 0.0)
    pacer.clear()
    pacer.push(range(FRAMES), 0.5, 0.6)  # a tenth of a second late
    assert pacer.margin == pytest.approx(0.1 - TOLERATED_S)
    assert pacer.spacing == pytest.approx((0.5 + pacer.margin) / FRAMES)
    pacer.expect(1.2, 0.6)
    assert pacer.spacing == pytest.approx((0.6 + pacer.margin) / FRAMES)


@pytest.mark.parametrize(("arrives", "margin"), [(0.9, 0.0), (1.04, 0.0), (1.15, 0.1)])
def test_the_rest_of_a_chunk_that_comes_after_it_was_due_makes_a_margin(arrives, margin):
    pacer = told_of_one_chunk()
    pacer.push("ab", 0.6, 0.8, of=6)
    times = [pacer.pop(max(pacer.due(), 0.8)) and pacer.due() for _ in "ab"]
    assert times[0] == pytest.approx(0.9) and pacer.due() is None
    pacer.extend("cdef", arrives)  # 0.1 s after the second one: due at 1.0
    pacer.push("abcdef", 0.6, 1.4)
    assert pacer.margin == pytest.approx(margin, abs=1e-3)


def test_after_a_pause_pictures_that_come_together_are_not_late():
    pacer = told_of_one_chunk()
    pacer.push("abcdef", 0.6, 0.8)
    pacer.pop(0.8)
    pacer.clear()
    pacer.restart()
    pacer.push("ab", 0.6, 1.2, of=6)
    pacer.extend("cdef", 1.2)  # before any has gone out, and long after the last one was due
    pacer.push("abcdef", 0.6, 1.8)
    assert pacer.margin == 0.0


def test_law_a_margin_that_bridges_what_is_late_stays():
    """Of every chunk the second half comes 0.15 s later than it is due: not only until that is forgotten."""
    now, margins, pacer = 0.0, list[float](), Pacer[str](MediaClock())
    for chunk in range(3 * CHUNKS):
        for at, is_first in ((0.6 * chunk, True), (0.6 * chunk + 0.45, False)):
            while (due := pacer.due()) is not None and max(due, now) < at:
                now = max(due, now)
                pacer.pop(now)
            now = at
            if is_first:
                pacer.push("abcdef", 0.6, at, of=FRAMES)
            else:
                pacer.extend("ghijkl", at)
        pacer.expect(0.6 * (chunk + 1), 0.6 * chunk + 0.45)
        margins.append(pacer.margin)
    assert margins[3:] == pytest.approx([0.15 - TOLERATED_S] * (len(margins) - 3), rel=0.1)


def test_after_what_was_there_has_been_dropped_nothing_is_late():
    pacer = told_of_one_chunk()
    pacer.push("ab", 0.6, 0.8, of=6)
    pacer.pop(0.8)
    pacer.clear()
    pacer.extend("cdef", 1.15)
    pacer.push("abcdef", 0.6, 1.4)
    assert pacer.margin == 0.0


def told_of_one_chunk() -> Pacer[str]:
    """A pacer whose chunk, played from 0.2 s on, was followed by another as expected."""
    pacer = Pacer(MediaClock())
    pacer.push("abcdef", 0.6, 0.2)
    pacer.expect(0.8, 0.2)
    while pacer.due() is not None:
        pacer.pop(max(pacer.due(), 0.2))
    return pacer


@given(intervals, st.floats(0, 1))
def test_law_a_chunk_in_pieces_is_played_as_a_whole_one(gaps, apart):
    """Pieces that come before they are due change neither order, times nor spacing."""
    whole, _, _ = play(gaps)
    pieces, pacer, _ = play(gaps, apart=apart * min(gaps) / 2 / FRAMES)
    assert [s.picture for s in pieces] == [s.picture for s in whole]
    assert [s.at for s in pieces] == pytest.approx([s.at for s in whole])
    assert len(pieces) + pacer.dropped == FRAMES * len(gaps)


def test_pieces_that_are_late_are_played_when_they_come():
    pacer = Pacer(MediaClock())
    pacer.push("ab", 0.6, 0.0, of=6)
    assert pacer.spacing == pytest.approx(0.1, rel=0.2)
    assert [pacer.pop(0.0)[0], pacer.pop(0.1)[0]] == ["a", "b"]
    assert pacer.due() is None
    pacer.extend("cdef", 1.0)
    played = [(picture, pts) for picture, pts in (pacer.pop(0.25 + 0.1 * n) for n in range(4))]
    assert [picture for picture, _ in played] == list("cdef")
    assert all(b > a for a, b in zip([p for _, p in played], [p for _, p in played][1:], strict=False))


def test_third_chunk_pushes_out_the_oldest():
    pacer = Pacer(MediaClock())
    for number in range(3):
        pacer.push([(number, k) for k in range(4)], 0.5, 0.0)
    assert pacer.dropped == 4
    assert pacer.pop(0.0)[0] == (1, 0)


def test_cleared_pictures_are_reported_not_played():
    pacer = Pacer(MediaClock())
    pacer.push("abc", 0.5, 0.0)
    pacer.pop(0.0)
    assert pacer.clear() == 2
    assert pacer.due() is None
    with pytest.raises(IndexError):
        pacer.pop(0.1)


def test_a_pause_is_not_taken_for_a_pace_after_restart():
    pacer = Pacer(MediaClock())
    for arrival in (0.0, 0.5, 1.0):
        pacer.push(range(FRAMES), 0.5, arrival)
    pacer.clear()
    pacer.expect(1.5, 1.0)
    pacer.restart()
    pacer.push(range(FRAMES), 0.5, 31.0)
    assert pacer.interval == 0.5
    assert pacer.spacing == pytest.approx(0.5 / FRAMES, rel=0.1)


class TestMediaClock:
    def test_first_frame_goes_at_once_with_pts_zero(self):
        clock = MediaClock()
        assert clock.due(0.04) is None
        assert clock.tick(0.04, 123.4) == 0

    def test_a_little_late_keeps_the_timeline_and_catches_up(self):
        clock = MediaClock()
        clock.tick(0.04, 0.0)
        assert clock.tick(0.04, 0.09) == 3600
        assert clock.due(0.04) == pytest.approx(0.11)  # half a spacing after the last, not at once
        assert clock.tick(0.04, 0.11) == 7200

    def test_very_late_moves_the_timeline(self):
        clock = MediaClock()
        clock.tick(0.04, 0.0)
        assert clock.tick(0.04, 1.0) == CLOCK_RATE_HZ
        assert clock.due(0.04) == pytest.approx(1.04)

    @pytest.mark.parametrize(("late", "is_moved"), [(0.0, False), (0.099, False), (0.101, True)])
    def test_the_timeline_moves_when_a_frame_is_more_than_a_tenth_of_a_second_late(self, late, is_moved):
        clock = MediaClock()
        clock.tick(0.04, 0.0)
        assert clock.tick(0.04, 0.04 + late) == round(90_000 * (0.04 + is_moved * late))
        assert (clock.last_due(0.04, 10.0), clock.last_due(0.04, 0.04)) == (None, 0.04 + is_moved * late)

    def test_fractions_of_a_tick_are_not_lost(self):
        clock = MediaClock()
        pts = [clock.tick(1 / 7, n / 7) for n in range(7001)]
        assert pts[-1] == 1000 * CLOCK_RATE_HZ

    def test_pts_rise_even_for_frames_closer_than_a_tick(self):
        clock = MediaClock()
        assert [clock.tick(1e-7, n * 1e-7) for n in range(4)] == [0, 1, 2, 3]


def test_who_waits_for_a_picture_is_told_of_all_that_may_move_it():
    told = []
    pacer = Pacer(MediaClock(), lambda: told.append(len(pacer)))
    pacer.push([1, 2], 1.0, now=0.0, of=4)
    pacer.extend([3, 4], 0.0)
    pacer.pop(0.0)
    pacer.expect(2.0, now=0.0)
    pacer.clear()
    assert told == [2, 4, 3, 0]
