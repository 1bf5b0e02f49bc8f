"""A stream after 49 days, when milliseconds need a 33rd bit, and through jumps of the clock."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from server.engine.client import EngineClient
from server.media.pacing import CLOCK_RATE_HZ, MediaClock
from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.settings import Settings, load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import until
from tests.server.running_session import CAMERA_FPS, RunningSession
from tests.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time
DAYS_49_S = 2**32 / 1000


@pytest.fixture
def settings() -> Settings:
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
async def running(settings: Settings, worker: EngineClient) -> AsyncIterator[RunningSession]:
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    session.start()
    yield await running.live()
    await running.close()


def virtual() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def gaps_s(running: RunningSession) -> list[float]:
    times = [frame.time for frame in running.shown if frame.time is not None]
    return [after - before for before, after in pairwise(times)]


async def gaps_of(running: RunningSession, count: int) -> list[float]:
    running.shown.clear()
    await until(lambda: len(running.shown) > count, "pictures")
    return gaps_s(running)


async def test_law_after_49_days_pictures_come_as_at_first(
    running: RunningSession, engine: FakeEngineModule
) -> None:
    """Up to the 2**32nd millisecond and beyond it, without a gap."""
    engine.step_seconds = 0.05
    early = await gaps_of(running, 240)
    loop = virtual()
    loop.advance(DAYS_49_S - loop.time() - 2.0)
    await gaps_of(running, 120)  # the jump itself is a pause
    assert loop.time() < DAYS_49_S
    late = await gaps_of(running, 240)
    assert loop.time() > DAYS_49_S
    assert max(late) == pytest.approx(max(early), abs=2 / CAMERA_FPS) and min(late) > 0


@pytest.mark.parametrize("seconds", [3.0, 3600.0, DAYS_49_S])
async def test_law_a_process_that_stood_still_goes_on_with_the_newest_pictures(
    running: RunningSession, seconds: float
) -> None:
    """As after a stop by a signal: nothing is relived, and the age of pictures is what it was."""
    ages: list[float] = []
    shown = running.session.playout.on_shown

    def noted(picture: object, pts: int, now: float) -> None:
        ages.append(now - picture.captured)  # pyright: ignore[reportAttributeAccessIssue]
        shown(picture, pts, now)  # pyright: ignore[reportArgumentType]

    running.session.playout.on_shown = noted
    await until(lambda: len(ages) > 120, "pictures")
    usual = max(ages)
    virtual().advance(seconds)
    ages.clear()
    began = virtual().time()
    await until(lambda: len(ages) > 240, "pictures")
    assert max(ages[120:]) == pytest.approx(usual, abs=2 / CAMERA_FPS)
    assert virtual().time() - began < 10.0


def test_law_a_media_clock_of_49_days_loses_no_tick() -> None:
    """One frame a second until then, then frames at 16 a second: each has its place to a tick."""
    clock, now, step = MediaClock(), 1e6, 1 / 16
    clock.tick(step, now)
    for _ in range(round(DAYS_49_S / 3600)):
        now += 3600.0
        clock.tick(3600.0, now)
    first = clock.tick(step, now + step)
    now += step
    for count in range(1, 1000):
        now += step
        assert abs(clock.tick(step, now) - first - count * CLOCK_RATE_HZ * step) <= 1
    assert first > 2**38
