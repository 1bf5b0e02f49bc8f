import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.protocol.requests import GuidanceKey, TimelineStep
from server.session.timeline import GuidanceTrack, PausableClock, Timeline

STEPS = tuple(TimelineStep(at=at, text=text) for at, text in ((0, "a"), (2, "b"), (5, "c")))
KEYS = (GuidanceKey(at=1, scale=0), GuidanceKey(at=3, scale=2), GuidanceKey(at=4, scale=1))


def begun(timeline: Timeline, times) -> list[tuple[float, str | None]]:
    """When which step begins, asked at `times`."""
    found = []
    for now in times:
        while (due := timeline.due(now)) is not None:
            step, timeline = due
            found.append((now, step.text))
    return found


def test_each_step_begins_once_when_its_time_has_come():
    times = [10, 11.9, 12, 12.1, 15.5, 100]
    assert begun(Timeline(STEPS, began=10), times) == [(10, "a"), (12, "b"), (15.5, "c")]


def test_the_coming_step_is_the_one_after_those_begun():
    def coming(begun: int, loop: bool) -> str | None:
        step = Timeline(STEPS, began=0, loop=loop, duration=6, begun=begun).coming
        return step and step.text

    assert [coming(n, loop=False) for n in range(5)] == ["a", "b", "c", None, None]
    assert [coming(n, loop=True) for n in range(5)] == ["a", "b", "c", "a", "b"]


def test_of_steps_that_are_late_together_the_latest_begins():
    assert begun(Timeline(STEPS, began=0), [0, 9, 10]) == [(0, "a"), (9, "c")]


def test_a_loop_begins_again():
    timeline = Timeline(STEPS, began=0, loop=True, duration=6)
    assert begun(timeline, [0, 3, 5, 5.9, 6, 8, 12.5, 30]) == [
        (0, "a"),
        (3, "b"),
        (5, "c"),
        (6, "a"),
        (8, "b"),
        (12.5, "a"),
        (30, "a"),
    ]
    assert timeline.position(8) == 2 and timeline.step(8) == 1


def test_a_loop_counts_its_rounds_from_its_own_beginning():
    timeline = Timeline(STEPS, began=100, loop=True, duration=6)
    assert begun(timeline, [100, 103, 105, 105.9, 106, 108, 112]) == [
        (100, "a"),
        (103, "b"),
        (105, "c"),
        (106, "a"),
        (108, "b"),
        (112, "a"),
    ]


def test_a_loop_may_be_shorter_than_a_second():
    timeline = Timeline((TimelineStep(at=0, text="a"),), began=0, loop=True, duration=0.5)
    assert begun(timeline, [0, 0.25, 0.5, 0.75, 1.0]) == [(0, "a"), (0.5, "a"), (1.0, "a")]


def test_a_duration_repeats_nothing_without_a_loop():
    timeline = Timeline(STEPS, began=10, duration=6)
    assert begun(timeline, [10, 12, 15, 16, 18, 30]) == [(10, "a"), (12, "b"), (15, "c")]
    assert [timeline.until_next(now) for now in (10, 15, 17)] == [2, None, None]


@pytest.mark.parametrize(("loop", "coming"), [(False, ["b", "c", None]), (True, ["b", "c", "a", "b"])])
def test_what_comes_after_a_step_that_began_is_known(loop, coming):
    timeline, told = Timeline(STEPS, began=10, loop=loop, duration=6), []
    for now in (10, 12, 15, 16):
        if (due := timeline.due(now)) is not None:
            _, timeline = due
            told.append(timeline.coming and timeline.coming.text)
    assert told == coming


def test_the_time_until_the_next_step_is_told():
    steps = (TimelineStep(at=0, text="a"), TimelineStep(at=5, text="b"))
    once, looped = Timeline(steps, 100), Timeline(steps, 100, True, 8)
    assert [once.until_next(now) for now in (100, 104, 105, 200)] == [5, 1, None, None]
    assert [looped.until_next(now) for now in (100, 105, 107, 108, 112)] == [5, 3, 1, 5, 1]


def test_position_and_step_without_a_loop_go_on():
    timeline = Timeline(STEPS, began=10, duration=6)
    assert [timeline.position(now) for now in (9, 10, 14, 30)] == [0, 0, 4, 20]
    assert [timeline.step(now) for now in (9, 10, 14, 30)] == [0, 0, 1, 2]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_after_any_times_the_step_in_effect_is_the_one_begun_last(times):
    timeline = Timeline(STEPS, began=0, loop=True, duration=7)
    times = sorted(times)
    _, last = begun(timeline, times)[-1]
    assert last == STEPS[timeline.step(times[-1])].text


@pytest.mark.parametrize(("now", "scale"), [(0, 0), (1, 0), (2, 1), (3, 2), (3.5, 1.5), (4, 1), (99, 1)])
def test_a_track_goes_straight_from_key_to_key_and_holds_the_last(now, scale):
    assert GuidanceTrack(KEYS, began=0).scale(now) == pytest.approx(scale)
    assert GuidanceTrack(KEYS, began=50).scale(50 + now) == pytest.approx(scale)


def test_a_looping_track_begins_again():
    track = GuidanceTrack(KEYS, began=0, loop=True)
    assert [track.scale(now) for now in (2, 6, 10)] == pytest.approx([1, 1, 1])
    assert GuidanceTrack(KEYS[:1], began=0).scale(9) == 0
    assert GuidanceTrack(KEYS, began=10, loop=True).scale(7) == 0, "not begun"


def test_a_track_moves_until_its_last_key():
    assert GuidanceTrack(KEYS, began=0).moves(KEYS[-1].at - 0.1)
    assert not GuidanceTrack(KEYS, began=0).moves(KEYS[-1].at)
    assert GuidanceTrack(KEYS, began=0, loop=True).moves(1000)


@given(st.floats(0, 1000), st.booleans())
def test_a_track_stays_within_its_keys(now, loop):
    assert 0 <= GuidanceTrack(KEYS, began=0, loop=loop).scale(now) <= 2


def test_a_clock_stands_still_while_paused():
    clock = PausableClock()
    assert clock.time(5) == 5
    clock.pause(6)
    clock.pause(7)
    assert clock.time(6) == clock.time(9) == 6
    clock.resume(10)
    clock.resume(11)
    assert clock.time(12) == 8
    clock.pause(13)
    clock.resume(20)
    assert clock.time(21) == 10, "pauses add up"
