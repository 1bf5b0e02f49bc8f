"""A model slower than the camera: pictures never grow older with time, and who share it have as much each."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from statistics import fmean, linear_regression
from typing import Any

import pytest

from server.engine.client import EngineClient
from server.metrics import Metrics
from server.services import Services
from server.session.picture import Picture
from server.session.session import LiveSession
from server.settings import Settings, load_settings
from tests.server import fakes, running_session
from tests.server.fakes import FakeEngineModule
from tests.server.running_session import RunningSession

pytestmark = pytest.mark.virtual_time
FPS = 16.0
CHUNK_S = 12 / FPS
WARM_UP_S, MINUTES = 60.0, 6
EVERY = 10  # chunks


@pytest.fixture
def settings() -> Settings:
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": FPS})


@pytest.fixture
async def begin(
    settings: Settings, worker: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], RunningSession]]:
    """Begins a session, closed at the end, with a camera of 24 frames a second."""
    monkeypatch.setattr(running_session, "CAMERA_FPS", 24)
    begun: list[RunningSession] = []

    def begin(id: str) -> RunningSession:
        session = LiveSession(id, Services(settings, worker, Metrics()))
        begun.append(RunningSession(session, is_watched=False))
        session.start()
        return begun[-1]

    yield begin
    for running in begun:
        await running.close()


def ages_of(running: RunningSession) -> dict[int, list[tuple[float, float]]]:
    """When each picture goes out from now on, in minutes, and its age then, in milliseconds; by the cycle of
    EVERY chunks that it is of."""
    ages: dict[int, list[tuple[float, float]]] = defaultdict(list)
    shown = running.session.playout.on_shown

    def noted(picture: Picture, pts: int, now: float) -> None:
        ages[picture.sequence // EVERY].append((now / 60, (now - picture.captured) * 1000))
        shown(picture, pts, now)

    running.session.playout.on_shown = noted
    return ages


@pytest.mark.parametrize("stall_s", [0.0, 3.0], ids=["steady", "stalls"])
@pytest.mark.parametrize("speed", [0.5, 0.25])
async def test_law_pictures_of_a_slow_model_never_grow_older_with_time(
    begin: Callable[[str], RunningSession],
    engine: FakeEngineModule,
    monkeypatch: pytest.MonkeyPatch,
    speed: float,
    stall_s: float,
) -> None:
    """At half and at a quarter of real time, and where every tenth chunk takes seconds longer: by less than a
    millisecond a minute."""
    step = fakes.LiveStream.step

    def timed(stream: fakes.LiveStream, *given: Any) -> Any:
        engine.step_seconds = CHUNK_S / speed + stall_s * (len(engine.steps) % EVERY == 0)
        return step(stream, *given)

    monkeypatch.setattr(fakes.LiveStream, "step", timed)
    running = begin("abc")
    await asyncio.sleep(WARM_UP_S)
    ages = ages_of(running)
    await asyncio.sleep(MINUTES * 60)
    _, *whole, _ = ages.values()
    minutes, milliseconds = zip(
        *([fmean(of) for of in zip(*cycle, strict=True)] for cycle in whole), strict=True
    )
    assert len(whole) >= MINUTES * 60 / (EVERY * CHUNK_S / speed + stall_s) - 3
    assert {len(cycle) for cycle in whole} <= {12 * EVERY}, "every picture is shown"
    slope = linear_regression(minutes, milliseconds).slope
    assert slope <= 1.0
    assert max(age for cycle in whole for _, age in cycle) <= 2.5 * (CHUNK_S / speed + stall_s) * 1000


async def test_law_two_sessions_of_unlike_steps_have_half_of_the_device_each(
    begin: Callable[[str], RunningSession], engine: FakeEngineModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One takes 4 steps a chunk, the other 8: each within a tenth of half of the time."""
    had: dict[fakes.LiveStream, float] = {}
    step = fakes.LiveStream.step

    def timed(stream: fakes.LiveStream, *given: Any) -> Any:
        had[stream] = had.get(stream, 0.0)
        engine.step_seconds = 2 * CHUNK_S * (1 + list(had).index(stream))
        had[stream] += engine.step_seconds
        return step(stream, *given)

    monkeypatch.setattr(fakes.LiveStream, "step", timed)
    for id in ("four", "eight"):
        begin(id)
    await asyncio.sleep(WARM_UP_S)
    before = dict(had)
    await asyncio.sleep(300.0)
    shares = [(had[stream] - before[stream]) / 300.0 for stream in had]
    assert sum(shares) > 0.9
    assert shares == [pytest.approx(0.5, rel=0.1)] * 2
