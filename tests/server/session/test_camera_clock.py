import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.session.camera_clock import LOST_S, CameraClock

delays = st.lists(st.floats(0, 0.2), min_size=2, max_size=60)


@given(delays)
def test_law_times_never_fall_and_never_lie_after_the_arrival(late):
    clock, arrival, before = CameraClock(), 0.0, float("-inf")
    for number, delay in enumerate(late):
        arrival = max(arrival, number / 30 + delay)
        time = clock.map(1000.0 + number / 30, arrival)
        assert before - 1e-9 <= time <= arrival + 1e-9
        before = time


def test_network_jitter_is_removed():
    clock = CameraClock()
    delays = [0.0, 0.03, 0.01, 0.05, 0.02, 0.04] * 10
    times = [clock.map(n / 30, n / 30 + delay) for n, delay in enumerate(delays)]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert gaps == pytest.approx([1 / 30] * len(gaps), abs=1e-3)


def test_drift_of_the_camera_is_followed():
    clock, error = CameraClock(), 0.0
    for number in range(100_000):  # an hour, the camera running slow by 100 ppm
        arrival = number / 30 * (1 + 1e-4)
        error = max(error, arrival - clock.map(number / 30, arrival))
    assert error < 1e-3


def test_new_timeline_is_taken_from_its_arrival():
    clock = CameraClock()
    clock.map(100.0, 5.0)
    assert clock.map(3.0, 6.0) == 6.0
    assert clock.map(3.0 + 1 / 30, 6.0 + 1 / 30) == pytest.approx(6.0 + 1 / 30)
    assert clock.map(900.0, 7.0) == 7.0


@pytest.mark.parametrize(("late", "is_lost"), [(0.1, False), (0.49, False), (0.51, True)])
def test_a_frame_is_of_a_new_timeline_when_it_is_half_a_second_off(late, is_lost):
    clock = CameraClock()
    clock.map(0.0, 0.0)
    taken = clock.map(1.0, 1.0 + late)
    assert taken == (1.0 + late if is_lost else pytest.approx(1.0, abs=1e-3))


def test_an_offset_grows_no_faster_than_clocks_drift():
    """By 5e-4 a second since the last frame, however late this one is."""
    clock = CameraClock()
    clock.map(0.0, 0.0)
    assert clock.map(10.0, 10.4) == pytest.approx(10.0 + 10.4 * 5e-4)
    assert clock.map(11.0, 11.4) == pytest.approx(11.0 + 11.4 * 5e-4)
    assert clock.map(12.0, 12.001) == pytest.approx(12.001), "the least delayed frame tells the offset"


def test_a_camera_held_up_for_long_is_brought_up_to_date():
    clock = CameraClock()
    clock.map(0.0, 0.0)
    assert clock.map(1.0, 1.0 + 2 * LOST_S) == 1.0 + 2 * LOST_S
