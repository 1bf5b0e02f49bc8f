"""A model whose chunks take unlike times: no freeze that could be foreseen, and no picture older for more."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import pytest

from scripts.bench.figures.latency import freezes
from server.engine.client import EngineClient
from server.media.margin import CHUNKS, TOLERATED_S
from server.metrics import Metrics
from server.services import Services
from server.session.picture import Picture
from server.session.session import LiveSession
from server.settings import Settings, load_settings
from tests.server import fakes, running_session
from tests.server.fakes import FakeEngineModule
from tests.server.running_session import RunningSession

pytestmark = pytest.mark.virtual_time
FPS = 30
PERIOD_S = 12 / FPS
STEP_S = 0.28  # of a chunk
STALL_S, EVERY = 3.0, 10  # so much more, of every tenth
WARM_UP_S, MINUTES = 60.0, 5


class Shown(NamedTuple):
    at: float
    age: float
    chunk: int


class Film:
    """A session with a camera of 30 frames a second, what has been shown, and how long each chunk took."""

    def __init__(self, running: RunningSession) -> None:
        self.running = running
        self.took: list[float] = []
        self.shown: list[Shown] = []
        on_shown = running.session.playout.on_shown

        def noted(picture: Picture, pts: int, now: float) -> None:
            self.shown.append(Shown(now, now - picture.captured, picture.sequence))
            on_shown(picture, pts, now)

        running.session.playout.on_shown = noted

    @property
    def margin(self) -> float:
        return self.running.session.pacer.margin

    async def ages(self, seconds: float) -> list[float]:
        """Of all pictures that are shown from now on, so long."""
        begin = len(self.shown)
        await asyncio.sleep(seconds)
        return [one.age for one in self.shown[begin:]]


@pytest.fixture
def settings() -> Settings:
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": float(FPS)})


@pytest.fixture
async def film(
    settings: Settings, worker: EngineClient, engine: FakeEngineModule, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[Iterator[float]], Film]]:
    """Begins a session whose chunks take, one after the other, as many seconds as the iterator gives."""
    monkeypatch.setattr(running_session, "CAMERA_FPS", FPS)
    begun: list[Film] = []
    step = fakes.LiveStream.step

    def begin(durations: Iterator[float]) -> Film:
        def timed(stream: fakes.LiveStream, *given: Any) -> Any:
            engine.step_seconds = next(durations)
            begun[0].took.append(engine.step_seconds)
            return step(stream, *given)

        monkeypatch.setattr(fakes.LiveStream, "step", timed)
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        begun.append(Film(RunningSession(session, is_watched=False)))
        session.start()
        return begun[0]

    yield begin
    for one in begun:
        await one.running.close()


def constant(late: dict[int, float]) -> Iterator[float]:
    """Always as long, but for chunks that take so much longer, by number."""
    number = 0
    while True:
        yield STEP_S + late.get(number, 0.0)
        number += 1


def normal() -> Iterator[float]:
    draw = random.Random(5)
    while True:
        yield max(0.05, draw.gauss(STEP_S, 0.06))


def heavy_tailed() -> Iterator[float]:
    draw = random.Random(5)
    while True:
        yield STEP_S - 0.02 + 0.02 * math.exp(draw.gauss(0, 1))


def stalling() -> Iterator[float]:
    return constant(dict.fromkeys(range(EVERY, 10_000, EVERY), STALL_S))


def unforeseeable(took: list[float]) -> set[int]:
    """Numbers of chunks later than the last ones by more than 0.1 s, or later than a margin can bridge."""
    late = [now - median(took[max(0, n - 3) : n] or [now]) for n, now in enumerate(took)]
    bridged = [one if one <= PERIOD_S / 2 + TOLERATED_S else 0.0 for one in late]
    return {
        number
        for number, one in enumerate(late)
        if one > min(max([0.0, *bridged[max(0, number - CHUNKS) : number]]) + 0.1, PERIOD_S / 2)
    }


async def test_law_one_late_chunk_costs_its_margin_and_then_nothing(
    film: Callable[[Iterator[float]], Film],
) -> None:
    """Of a model that keeps time otherwise pictures are older by exactly the margin, and then as before."""
    late = 50
    playing = film(constant({late: 0.15}))
    await asyncio.sleep(0.8 * late * PERIOD_S)
    assert playing.margin == 0.0, "at its floor"
    before = median(await playing.ages(3 * PERIOD_S))
    await asyncio.sleep(0.2 * late * PERIOD_S + 2 * PERIOD_S)
    margin = 0.15 - TOLERATED_S
    assert playing.margin == pytest.approx(margin, abs=1e-3)
    assert median(await playing.ages(20 * PERIOD_S)) == pytest.approx(before + margin, abs=2e-3)
    await asyncio.sleep((CHUNKS + 20) * PERIOD_S)
    assert playing.margin < 0.01
    assert median(await playing.ages(20 * PERIOD_S)) == pytest.approx(before, abs=5e-3)
    assert freezes([one.at for one in playing.shown]) == [], "and it was no freeze"


async def test_law_a_slow_beginning_makes_no_later_picture_older(
    film: Callable[[Iterator[float]], Film],
) -> None:
    """The second to the fourth chunk take half as long again, as where nothing of them is recorded yet."""
    playing = film(constant(dict.fromkeys(range(1, 4), 0.5 * STEP_S)))
    await asyncio.sleep(4 * PERIOD_S)
    assert playing.margin > 0.05
    await asyncio.sleep(26 * PERIOD_S)
    assert playing.margin < 0.015
    early = median(await playing.ages(20 * PERIOD_S))
    await asyncio.sleep((CHUNKS + 40) * PERIOD_S)
    assert early == pytest.approx(median(await playing.ages(20 * PERIOD_S)), abs=0.02)
    assert freezes([one.at for one in playing.shown]) == []


async def test_law_a_prompt_that_comes_while_the_device_is_free_is_not_waited_for(
    film: Callable[[Iterator[float]], Film], engine: FakeEngineModule
) -> None:
    """Its window is recomputed while the chunk's frames come in: the chunk takes no longer than others."""
    playing = film(constant({}))
    engine.recache_seconds = 0.1
    await asyncio.sleep(20 * PERIOD_S)
    waits: list[float] = []
    for number in range(12):
        chunks = len(engine.steps)
        while len(engine.steps) == chunks:  # noqa: ASYNC110 -- the engine is no part of the loop
            await asyncio.sleep(0.005)
        await asyncio.sleep(STEP_S + 0.002)  # the device is free now, until the camera has the next chunk
        asked = asyncio.get_running_loop().time()
        await playing.running.applied("prompt.set", str(number), text=f"prompt {number}")
        waits.append(asyncio.get_running_loop().time() - asked)
        await asyncio.sleep(3 * PERIOD_S)
    assert len(engine.recached_ahead) == 12
    assert max(waits) < PERIOD_S + 0.05, "what is left of the camera's time, and a chunk's"
    assert freezes([one.at for one in playing.shown]) == []


@pytest.mark.parametrize("durations", [normal, heavy_tailed])
async def test_law_no_freeze_but_those_of_chunks_that_nothing_foretold(
    film: Callable[[Iterator[float]], Film], durations: Callable[[], Iterator[float]]
) -> None:
    """In five minutes, and pictures never grow older."""
    playing = film(durations())
    await asyncio.sleep(WARM_UP_S)
    first = len(playing.shown)
    await asyncio.sleep(MINUTES * 60)
    shown = playing.shown[first:]
    forced = {n for n in unforeseeable(playing.took) if shown[0].chunk <= n + 1 <= shown[-1].chunk}
    assert len(freezes([one.at for one in shown])) <= len(forced)
    third = len(shown) // 3
    ages = [median(one.age for one in part) for part in (shown[:third], shown[-third:])]
    assert ages[1] <= ages[0] + 0.02


async def test_law_stalls_make_one_freeze_each_and_no_picture_older(
    film: Callable[[Iterator[float]], Film],
) -> None:
    """Three seconds in every tenth chunk, for five minutes: no margin could bridge them."""
    playing = film(stalling())
    await asyncio.sleep(WARM_UP_S)
    first = len(playing.shown)
    await asyncio.sleep(MINUTES * 60)
    shown = playing.shown[first:]
    stalls = [n for n in range(shown[0].chunk, shown[-1].chunk) if n % EVERY == 0]
    assert playing.margin == 0.0
    assert len(stalls) > 30
    assert abs(len(freezes([one.at for one in shown])) - len(stalls)) <= 1
