"""What the benchmark's numbers mean, on runs whose answers are known."""

import pytest

from scripts.bench.figures.latency import Arrival, freezes, medians_over_time, percentile, summarise


def generated(time: float, latency: float = 0.5) -> Arrival:
    return Arrival(time=time, sent=time - latency, difference=60.0, is_live=True)


def test_percentiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile(values, 0.5) == 3.0
    assert percentile(values, 0.95) == 5.0
    assert percentile([7.0], 0.5) == 7.0


def test_a_steady_stream_has_no_freezes() -> None:
    assert freezes([index / 10 for index in range(50)]) == []


def test_a_gap_of_three_usual_gaps_is_a_freeze() -> None:
    times = [index / 10 for index in range(20)]
    late = [time + 0.35 for time in times[10:]]
    assert freezes(times[:10] + late) == pytest.approx([0.45])


def test_a_short_gap_in_a_fast_stream_is_none() -> None:
    times = [index / 60 for index in range(20)]
    assert freezes(times[:10] + [time + 0.1 for time in times[10:]]) == []


def test_a_slow_stream_is_not_one_long_freeze() -> None:
    assert freezes([0.0, 1.0, 2.0, 3.0]) == []


def test_latency_and_rate_come_from_generated_pictures_alone() -> None:
    passed_through = Arrival(time=1.0, sent=0.99, difference=3.0, is_live=False)
    run = [passed_through, *(generated(2 + index / 10, latency=0.4 + index / 100) for index in range(11))]
    figures = summarise(run, offered=0.5)
    assert figures.first_generated_ms == pytest.approx(1500)
    assert figures.glass_to_glass_p50_ms == pytest.approx(450)
    assert figures.glass_to_glass_max_ms == pytest.approx(500)
    assert figures.fps == pytest.approx(10)
    assert (figures.generated, figures.passed_through, figures.unreadable) == (11, 1, 0)


def test_a_camera_picture_is_not_counted_as_generated_whatever_the_server_says() -> None:
    figures = summarise([Arrival(time=1.0, sent=0.9, difference=4.0, is_live=True)], offered=0.0)
    assert (figures.generated, figures.passed_through) == (0, 1)


def test_a_damaged_number_is_reported_and_not_guessed() -> None:
    damaged = Arrival(time=1.0, sent=None, difference=None, is_live=True)
    figures = summarise([damaged, generated(2.0)], offered=0.0)
    assert (figures.generated, figures.passed_through, figures.unreadable) == (1, 0, 1)


def test_the_slope_is_that_of_latency_per_minute() -> None:
    run = [generated(2 + index / 10, latency=0.4 + index / 1000) for index in range(50)]
    assert summarise(run, offered=0.0).slope_ms_per_minute == pytest.approx(600)
    assert summarise(run[:1], offered=0.0).slope_ms_per_minute is None


def test_medians_over_time_tell_a_step_from_a_climb() -> None:
    step = [generated(2 + index, latency=0.4 if index < 60 else 0.5) for index in range(90)]
    assert medians_over_time(step, 30) == pytest.approx([400, 400, 500])
    assert medians_over_time([], 30) == []


def test_a_picture_that_was_not_compared_counts_as_what_the_server_says() -> None:
    echoed = Arrival(time=1.0, sent=0.9, difference=None, is_live=True)
    before = Arrival(time=0.8, sent=0.7, difference=None, is_live=False)
    figures = summarise([before, echoed], offered=0.0)
    assert (figures.generated, figures.passed_through, figures.difference_p50) == (1, 1, None)


def test_nothing_generated_gives_no_figures_instead_of_zeros() -> None:
    figures = summarise([], offered=0.0)
    assert figures.first_generated_ms is None
    assert figures.fps is None
    assert figures.glass_to_glass_max_ms is None
    assert figures.generated == 0
