"""Figures of a stream of pictures, and when it counts as usual again."""

import pytest

from scripts.bench.networks.figures import Continuity, continuity, usual_again

USUAL = Continuity(fps=20.0, longest_gap_s=0.06, gaps=0)


def pictures(begin: float, end: float, fps: float = 20.0) -> list[float]:
    return [begin + n / fps for n in range(round((end - begin) * fps))]


def test_the_edges_of_the_time_count_as_gaps():
    assert continuity([], 10.0, 12.0) == Continuity(fps=0.0, longest_gap_s=2.0, gaps=1)
    found = continuity([9.0, 10.75, 11.0, 13.0], 10.0, 12.0)
    assert found == Continuity(fps=1.0, longest_gap_s=1.0, gaps=2)


def test_a_stream_that_never_stopped_is_as_usual_at_once():
    assert usual_again(pictures(0.0, 20.0), 5.0, 12.0, USUAL) == 0.0


def test_it_is_as_usual_from_the_picture_after_the_last_gap():
    times = pictures(0.0, 5.0) + pictures(6.0, 6.5) + pictures(7.5, 20.0)
    assert usual_again(times, 5.0, 12.0, USUAL) == pytest.approx(2.5)


def test_half_the_rate_is_not_as_usual():
    times = pictures(0.0, 5.0) + pictures(5.0, 8.0, fps=10.0) + pictures(8.0, 20.0)
    assert usual_again(times, 5.0, 12.0, USUAL) == pytest.approx(2.6, abs=0.15)


def test_a_stream_that_does_not_come_back_or_not_in_time_never_does():
    assert usual_again(pictures(0.0, 5.0), 5.0, 12.0, USUAL) is None
    assert usual_again(pictures(0.0, 5.0) + pictures(11.5, 20.0), 5.0, 12.0, USUAL) is None
