"""Model of a bad link: what is lost, what is late, and that a seed tells it all."""

from itertools import pairwise
from typing import Any

import pytest

from scripts.bench.networks.shaping import CLEAN, OUTAGE, Conditions, Shaper

SIZE = 1200  # bytes
PERIOD_S = 0.004


def arrivals(
    shaper: Shaper, conditions: Conditions, count: int = 2000, start: float = 50.0
) -> list[float | None]:
    """Of packets that are sent PERIOD_S apart."""
    shaper.conditions = conditions
    return [shaper.arrival(SIZE, start + n * PERIOD_S) for n in range(count)]


def delays(found: list[float | None], start: float = 50.0) -> list[float]:
    return [round(at - start - n * PERIOD_S, 9) for n, at in enumerate(found) if at is not None]


def test_a_clean_link_gives_each_packet_on_at_once():
    assert delays(arrivals(Shaper("a"), CLEAN)) == [0.0] * 2000


def test_an_outage_lets_nothing_through_and_the_link_is_clean_after_it():
    shaper = Shaper("a")
    assert arrivals(shaper, OUTAGE) == [None] * 2000
    assert delays(arrivals(shaper, CLEAN, start=100.0), 100.0) == [0.0] * 2000
    assert (shaper.lost, shaper.passed) == (2000, 2000)


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_the_share_that_is_lost_is_the_one_asked_for(loss: float):
    shaper = Shaper("a")
    lost = arrivals(shaper, Conditions(loss=loss), 20_000).count(None)
    assert lost == shaper.lost
    assert lost == pytest.approx(20_000 * loss, rel=0.15)


def test_the_same_seed_does_the_same_and_another_one_something_else():
    bad = Conditions(loss=0.1, delay_s=0.2, jitter_s=0.05, late=0.1, late_s=0.03)
    assert arrivals(Shaper("a"), bad) == arrivals(Shaper("a"), bad) != arrivals(Shaper("b"), bad)


def test_a_delay_wavers_within_its_bounds_and_keeps_the_order():
    found = arrivals(Shaper("a"), Conditions(delay_s=0.2, jitter_s=0.05))
    taken = delays(found)
    assert 0.15 <= min(taken) < 0.17 and 0.23 < max(taken) <= 0.25
    assert sum(taken) / len(taken) == pytest.approx(0.2, abs=0.02)
    assert found == sorted(at for at in found if at is not None)


def test_late_packets_alone_are_overtaken():
    found = arrivals(Shaper("a"), Conditions(late=0.1, late_s=0.03))
    taken = delays(found)
    assert {round(one, 6) for one in taken} == {0.0, 0.03}
    assert taken.count(0.0) == pytest.approx(1800, abs=60)


def test_no_more_comes_through_a_slow_line_than_its_rate():
    """3 Mbit/s are sent into 500 kbit/s: the queue is full soon; what comes is as old as it is long."""
    slow = Conditions(rate_bps=500_000, queue_bytes=16_384)
    found = arrivals(Shaper("a"), slow)
    came = [at for at in found if at is not None]
    assert all(later - earlier >= 8 * SIZE / 500_000 - 1e-9 for earlier, later in pairwise(came))
    assert len(came) * 8 * SIZE / (came[-1] - came[0]) == pytest.approx(500_000, rel=0.01)
    assert max(delays(found)) <= 8 * (16_384 + SIZE) / 500_000


def test_a_slow_line_that_is_sent_little_loses_nothing():
    shaper = Shaper("a")
    shaper.conditions = Conditions(rate_bps=500_000, queue_bytes=16_384)
    assert [shaper.arrival(SIZE, n * 0.1) for n in range(50)] == pytest.approx(
        [n * 0.1 + 8 * SIZE / 500_000 for n in range(50)]
    )


def test_what_is_under_way_keeps_its_time_and_is_not_overtaken():
    shaper = Shaper("a")
    shaper.conditions = Conditions(delay_s=1.0)
    assert shaper.arrival(SIZE, 10.0) == 11.0
    shaper.conditions = CLEAN
    assert shaper.arrival(SIZE, 10.5) == 11.0
    assert shaper.arrival(SIZE, 12.0) == 12.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"loss": 1.5}, "loss must be 0 to 1, got 1.5"),
        ({"late": -0.1}, "late must be 0 to 1, got -0.1"),
        ({"delay_s": -1.0}, "delay_s must not be negative, got -1.0"),
        ({"delay_s": 0.1, "jitter_s": 0.2}, "jitter_s must be 0 to delay_s (0.1), got 0.2"),
        ({"rate_bps": 0.0}, "rate_bps must be above 0, got 0.0"),
    ],
)
def test_conditions_that_cannot_be_are_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(ValueError) as error:
        Conditions(**wrong)
    assert str(error.value) == words
