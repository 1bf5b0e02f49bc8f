"""When a session that shows nothing gives its place back, on a clock of the test's own."""

import pytest

from server.session.idle import IdleLimit

STEP = 0.5


class Clock:
    """Asks the limit twice a second, as a peer does."""

    def __init__(self, limit: IdleLimit) -> None:
        self.limit, self.now, self.seen_at, self.is_paused = limit, 100.0, 100.0, False

    def lasts(self, seconds: float, *, camera: bool = False) -> float | None:
        """Time passes; after how many seconds the place was given back, if so."""
        for count in range(1, round(seconds / STEP) + 1):
            self.now += STEP
            self.seen_at = self.now if camera else self.seen_at
            if self.limit.reason(self.now, seen_at=self.seen_at, is_paused=self.is_paused) is not None:
                return count * STEP
        return None


@pytest.fixture
def clock():
    return Clock(IdleLimit(30.0, 600.0))


def test_law_a_place_without_camera_pictures_is_given_back(clock):
    assert clock.lasts(60) == pytest.approx(30, abs=2 * STEP)
    assert "no picture from the camera for 30 s" in clock.limit.reason(clock.now, seen_at=0, is_paused=False)


def test_law_who_shows_pictures_keeps_the_place(clock):
    for _ in range(100):
        assert clock.lasts(1, camera=True) is None
        assert clock.lasts(25) is None


def test_law_a_pause_has_its_own_limit(clock):
    assert clock.lasts(5, camera=True) is None
    clock.is_paused = True
    assert clock.lasts(1000, camera=True) == pytest.approx(600, abs=2 * STEP)


def test_law_pausing_again_and_again_without_a_picture_gains_nothing(clock):
    total = 0.0
    for _ in range(1000):
        clock.is_paused = not clock.is_paused
        if clock.lasts(5) is not None:
            break
        total += 5
    assert total <= 65


def test_a_pause_ends_with_time_for_the_camera(clock):
    assert clock.lasts(5, camera=True) is None
    for _ in range(5):
        clock.is_paused = True
        assert clock.lasts(400) is None
        clock.is_paused = False
        assert clock.lasts(20) is None
        assert clock.lasts(1, camera=True) is None


def test_who_comes_back_has_time_again_once(clock):
    assert clock.lasts(5, camera=True) is None
    assert clock.lasts(20) is None
    clock.limit.connection_changed()
    assert clock.lasts(20) is None
    clock.limit.connection_changed()
    assert clock.lasts(20) == pytest.approx(10, abs=2 * STEP), "it brought no picture since"


def test_time_without_a_peer_does_not_count(clock):
    assert clock.lasts(20) is None
    clock.now += 1000.0
    assert clock.lasts(7) is None
    assert clock.lasts(7) is not None


def test_zero_is_no_limit():
    clock = Clock(IdleLimit(0, 0))
    assert clock.lasts(10_000) is None
    clock.is_paused = True
    assert clock.lasts(10_000) is None
