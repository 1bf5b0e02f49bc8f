import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.live.camera_clock import LOST_S, CameraClock

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


def test_a_camera_held_up_for_long_is_brought_up_to_date():
    clock = CameraClock()
    clock.map(0.0, 0.0)
    assert clock.map(1.0, 1.0 + 2 * LOST_S) == 1.0 + 2 * LOST_S
