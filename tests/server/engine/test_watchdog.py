"""The watchdog's patience: measured, bounded by the settings, and not spent while the process stood still."""

import asyncio

import pytest

from server.engine.watchdog import ENOUGH, KEPT, LEAST_S, PATIENCE, Watchdog
from tests.server.running import until
from tests.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


async def told_after(watchdog: Watchdog, told: list[float]) -> float:
    """Seconds until it gives up a thread that owes an answer and tells nothing."""
    began = asyncio.get_running_loop().time()
    watchdog.expect()
    await until(lambda: bool(told), "the thread to be given up", patience=200.0)
    return told[0] - began


async def jobs(watchdog: Watchdog, *durations: float) -> None:
    for seconds in durations:
        watchdog.expect()
        await asyncio.sleep(seconds)
        watchdog.heard()
        watchdog.answered()


@pytest.fixture
def told() -> list[float]:
    return []


@pytest.fixture
async def watchdog(told: list[float]) -> Watchdog:
    loop = asyncio.get_running_loop()
    return Watchdog(120.0, lambda: told.append(loop.time()))


@pytest.mark.parametrize(
    ("durations", "patience"),
    [
        ([0.1] * (ENOUGH - 1), 120.0),
        ([0.1] * ENOUGH, LEAST_S),
        ([0.1] * ENOUGH + [4.0], PATIENCE * 4.0),
        ([0.1] * ENOUGH + [25.0], 120.0),
        ([4.0] + [0.1] * KEPT, LEAST_S),
    ],
)
async def test_law_a_silent_thread_is_given_up_after_a_multiple_of_its_slowest_job(
    watchdog: Watchdog, told: list[float], durations: list[float], patience: float
) -> None:
    """Of late, and no later than the settings say."""
    await jobs(watchdog, *durations)
    assert watchdog.patience == pytest.approx(patience)
    assert await told_after(watchdog, told) == pytest.approx(patience)


async def test_a_limit_of_the_settings_below_the_least_holds(told: list[float]) -> None:
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(5.0, lambda: told.append(loop.time()))
    await jobs(watchdog, *[0.1] * ENOUGH)
    assert await told_after(watchdog, told) == pytest.approx(5.0)


async def test_jobs_that_wait_behind_others_are_measured_from_their_own_beginning(watchdog: Watchdog) -> None:
    for _ in range(ENOUGH):
        watchdog.expect()
    for _ in range(ENOUGH):
        await asyncio.sleep(2.0)
        watchdog.heard()
        watchdog.answered()
    assert watchdog.patience == pytest.approx(PATIENCE * 2.0)


async def test_law_a_process_that_stood_still_gives_the_thread_all_its_time_again(
    watchdog: Watchdog, told: list[float]
) -> None:
    """Stopped by a signal or a debugger, or asleep: its thread stood still as long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    watchdog.expect()
    await asyncio.sleep(1.0)
    loop.advance(3600.0)  # nothing ran meanwhile
    since = loop.time()
    await until(lambda: bool(told), "the thread to be given up", patience=200.0)
    assert told[0] - since == pytest.approx(120.0, abs=0.5)
