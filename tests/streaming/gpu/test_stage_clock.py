"""Times of stages, by a clock that the test turns."""

import pytest
import torch

import streaming.gpu.stage_clock
from streaming.gpu.stage_clock import StageClock


class Clock:
    seconds = 5.0

    def perf_counter(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(streaming.gpu.stage_clock, "time", clock)
    return clock


def test_a_stage_that_comes_twice_adds_up_and_one_inside_another_counts_for_both(clock: Clock) -> None:
    stages = StageClock(torch.device("cpu"))
    assert stages.timings_ms() == {}
    with stages.stage("total"):
        for name, seconds in (("encode", 0.25), ("decode", 0.5), ("encode", 1.0)):
            clock.seconds += 2.0  # of no stage
            with stages.stage(name):
                clock.seconds += seconds
    assert stages.timings_ms() == {"encode": 1250.0, "decode": 500.0, "total": 7750.0}


def test_a_stage_that_fails_has_no_time(clock: Clock) -> None:
    stages = StageClock(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError), stages.stage("encode"):
        raise ZeroDivisionError
    assert stages.timings_ms() == {}
