"""What "soon" means for a prompt switch, on runs whose answers are known."""

import pytest

from scripts.bench.figures.run_record import PromptSwitch, RunRecord
from scripts.bench.figures.switches import chunk_period_ms, summarise_switches


def switch(waited: int | None, ms: float | None) -> PromptSwitch:
    chunk = None if waited is None else 10 + waited
    return PromptSwitch("ice", applied_ms=ms, chunk=chunk, chunk_at_send=10)


def run(*switches: PromptSwitch) -> RunRecord:
    return RunRecord(offered=0.0, switches=list(switches), chunk_times=[(1.0, 4), (1.7, 5), (3.0, 8)])


def test_soon_is_no_more_than_two_chunks_after_the_one_on_show() -> None:
    figures = summarise_switches([run(switch(1, 400.0), switch(2, 800.0), switch(3, 1500.0))])
    assert figures.soon_share == pytest.approx(2 / 3)
    assert (figures.sent, figures.applied) == (3, 3)


def test_a_switch_that_never_showed_is_late() -> None:
    figures = summarise_switches([run(switch(1, 400.0), switch(None, None))])
    assert (figures.sent, figures.applied, figures.soon_share) == (2, 1, 0.5)


def test_times_are_told_in_chunk_periods_too() -> None:
    figures = summarise_switches([run(switch(1, 500.0)), run(switch(2, 1000.0))])
    assert figures.chunk_period_ms == pytest.approx(500)
    assert (figures.p50_ms, figures.p95_ms) == (500.0, 1000.0)
    assert figures.p50_periods == pytest.approx(1)
    assert figures.p95_periods == pytest.approx(2)


def test_a_switch_that_does_not_know_what_was_on_show_is_left_out() -> None:
    figures = summarise_switches([run(PromptSwitch("ice", applied_ms=5.0, chunk=3))])
    assert (figures.sent, figures.soon_share, figures.p50_ms) == (0, None, None)


def test_one_chunk_has_no_period() -> None:
    assert chunk_period_ms([RunRecord(offered=0.0, chunk_times=[(1.0, 4), (2.0, 4)])]) is None
