"""Bitrates of aiortc after a pause of any length, and times of day that do not jump."""

import inspect
import re
from types import ModuleType

import aiortc.clock
import aiortc.rtcdtlstransport
import pytest
from aiortc import rtcrtpreceiver, rtcrtpsender, rtcsctptransport

from server.webrtc.aiortc_patches.clock import use_steady_clock
from server.webrtc.aiortc_patches.rate_counter import RateCounter

YEARS_40_MS = 40 * 365 * 86_400_000


@pytest.fixture(autouse=True)
def steady() -> None:
    use_steady_clock()
    use_steady_clock()


@pytest.mark.parametrize("pause", [1999, 2000, 5000, YEARS_40_MS])
def test_law_a_rate_after_a_pause_is_that_of_what_came_after_it(pause: int) -> None:
    """Whatever its length; step by step, forty years would take days."""
    counter, now = RateCounter(1000, 8000), 1_000_000
    for _ in range(50):
        counter.add(100, now)
        now += 10
    assert counter.rate(now) == pytest.approx(80_000, rel=0.05)
    now += pause
    for count in range(1, 200):
        counter.add(200, now)
        assert counter.rate(now) == round(8000 * 200 * min(count, 100) / 1000)
        now += 10


def test_law_arrival_times_rise_though_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = aiortc.clock.current_ms()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert 0 <= aiortc.clock.current_ms() - before < 600_000


@pytest.mark.parametrize("module", [rtcrtpreceiver, rtcrtpsender, rtcsctptransport])
def test_the_places_have_not_moved(module: ModuleType) -> None:
    """Each asks the module `time` for the time of day, and for nothing else."""
    source = inspect.getsource(module)
    asked = set(re.findall(r"\btime\.(\w+)\(", source))
    assert asked == {"time"} and "\nimport time\n" in source
    assert "clock.current" in inspect.getsource(aiortc.rtcdtlstransport), "arrival times"
