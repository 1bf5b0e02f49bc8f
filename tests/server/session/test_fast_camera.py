"""A camera of 60 frames a second: what the model is shown is as new and as even as it can be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from statistics import median

import pytest

from server.engine.client import EngineClient
from server.metrics import Metrics
from server.services import Services
from server.session.picture import Picture
from server.session.session import LiveSession
from server.settings import load_settings
from tests.server import running_session
from tests.server.fakes import FakeEngineModule
from tests.server.running_session import RunningSession

pytestmark = pytest.mark.virtual_time
FPS = 60
STEP_S = 12 / 41  # of a chunk, for a model that makes 41 pictures a second
WARM_UP_S, SECONDS = 15.0, 30.0


class Pictures:
    """Those that were shown, and when each went out."""

    def __init__(self, shown: list[tuple[float, Picture]]) -> None:
        self.fps = (len(shown) - 1) / (shown[-1][0] - shown[0][0])
        self.age = median(at - picture.captured for at, picture in shown)
        self.filmed = [picture.captured for _, picture in shown]
        self.between = [after - before for before, after in pairwise(self.filmed)]


Play = Callable[..., Awaitable[Pictures]]


@pytest.fixture
async def play(
    worker: EngineClient, engine: FakeEngineModule, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Play]:
    """play(max_fps, step_s, fps=60): what a session shows of such a camera by such a model."""
    begun: list[RunningSession] = []

    async def play(max_fps: float, step_s: float, fps: float = FPS) -> Pictures:
        monkeypatch.setattr(running_session, "CAMERA_FPS", fps)
        engine.step_seconds = step_s
        settings = load_settings({"prompt": "clay", "max_fps": max_fps})
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        running = RunningSession(session, is_watched=False)
        begun.append(running)
        shown: list[tuple[float, Picture]] = []
        on_shown = session.playout.on_shown

        def noted(picture: Picture, pts: int, now: float) -> None:
            shown.append((now, picture))
            on_shown(picture, pts, now)

        session.playout.on_shown = noted
        session.start()
        await asyncio.sleep(WARM_UP_S)
        first = len(shown)
        await asyncio.sleep(SECONDS)
        await begun.pop().close()
        return Pictures(shown[first:])

    yield play
    for running in begun:
        await running.close()


async def test_law_a_model_slower_than_the_camera_is_shown_frames_at_its_own_rate(play: Play) -> None:
    """Of 60 frames a second 41, evenly: neighbours or every second one, none twice, none left over."""
    pictures = await play(60.0, STEP_S)
    assert pictures.fps == pytest.approx(41, abs=0.5)
    assert min(pictures.between) >= 0.9 / FPS and max(pictures.between) <= 2.1 / FPS
    assert pictures.filmed[-1] - pictures.filmed[0] == pytest.approx(SECONDS, abs=0.5)


async def test_law_a_faster_camera_makes_pictures_younger_by_what_it_saves_of_waiting(play: Play) -> None:
    """A picture waits, with those of its chunk, for 11/12 of the chunk's time; and half a camera frame to be
    taken."""
    fast, usual = await play(60.0, STEP_S), await play(30.0, STEP_S, fps=30)
    assert usual.fps == pytest.approx(30, abs=0.5)
    assert usual.age - fast.age == pytest.approx(11 / 12 * (12 / 30 - STEP_S), abs=1 / FPS)


async def test_law_a_camera_twice_as_fast_as_max_fps_is_halved_evenly(play: Play) -> None:
    pictures = await play(30.0, STEP_S)
    assert pictures.fps == pytest.approx(30, abs=0.5)
    assert pictures.between == pytest.approx([2 / FPS] * len(pictures.between), abs=0.1 / FPS)


@pytest.mark.parametrize("max_fps", [30.0, 60.0])
async def test_law_a_model_of_a_second_a_chunk_passes_over_no_part_of_what_was_filmed(
    play: Play, max_fps: float
) -> None:
    """More frames come than the ring holds: what gives way is spread over the chunk's time."""
    pictures = await play(max_fps, 1.0)
    assert max(pictures.between) <= 1.0 / 12 + 3 / FPS
