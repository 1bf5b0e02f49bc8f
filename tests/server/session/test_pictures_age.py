"""Age of a session's pictures as they go out: what looking ahead makes of it, in a whole session."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest

from server.engine.client import EngineClient
from server.metrics import Metrics
from server.services import Services
from server.session.look_ahead import LookAhead
from server.session.session import LiveSession
from server.settings import Settings
from tests.server import fakes, running_session
from tests.server.fakes import FakeEngineModule
from tests.server.running_session import RunningSession
from tests.virtual_time import sleep

pytestmark = pytest.mark.virtual_time
CLEAN_PASS_S = 0.06
WARM_UP_S, MEASURED_S = 12.0, 40.0


class Seen:
    """A frame whose depth the fake engine has estimated."""

    def __init__(self, picture: Any) -> None:
        self.picture = picture


class Timed:
    """Gives the fake engine the times of a real one, and counts what its chunks found done."""

    def __init__(
        self, engine: FakeEngineModule, depth_s: float, rest_s: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.engine, self.frame_s, self.rest_s = engine, depth_s / 12, rest_s
        self.found: list[int] = []
        self._owes_clean_pass = False
        stream, whole = fakes.LiveStream, fakes.StreamEngine
        look, step, flush = stream.look_ahead, stream.step, whole.flush
        engine.look_seconds = self.frame_s

        def looked(it: fakes.LiveStream, pictures: Sequence[Any]) -> list[Seen]:
            return [Seen(picture) for picture in look(it, pictures)]

        def stepped(it: fakes.LiveStream, frames: Sequence[Any], *given: Any) -> Any:
            self.found.append(sum(isinstance(frame, Seen) for frame in frames))
            engine.step_seconds = self.rest_s + self.frame_s * (len(frames) - self.found[-1])
            self._owes_clean_pass = True
            return step(it, [frame.picture if isinstance(frame, Seen) else frame for frame in frames], *given)

        def flushed(it: fakes.StreamEngine) -> None:
            if self._owes_clean_pass:
                sleep(CLEAN_PASS_S)
            self._owes_clean_pass = False
            flush(it)

        monkeypatch.setattr(stream, "look_ahead", looked)
        monkeypatch.setattr(stream, "step", stepped)
        monkeypatch.setattr(whole, "flush", flushed)
        clock = SimpleNamespace(monotonic=asyncio.get_running_loop().time)
        monkeypatch.setattr("server.engine.thread.time", clock)


async def played(settings: Settings, worker: EngineClient) -> tuple[float, float, float, float]:
    """Median and 95th percentile of the pictures' ages (s), pictures a second, longest gap (s)."""
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session, is_watched=False)
    session.start()
    await asyncio.sleep(WARM_UP_S)
    shown: list[tuple[float, float]] = []
    tell = session.playout.on_shown

    def noted(picture: Any, pts: int, now: float) -> None:
        shown.append((now, now - picture.captured))
        tell(picture, pts, now)

    session.playout.on_shown = noted
    await asyncio.sleep(MEASURED_S)
    await running.close()
    times, ages = zip(*shown, strict=True)
    gap = max(later - earlier for earlier, later in pairwise(times))
    return median(ages), sorted(ages)[int(0.95 * len(ages))], len(ages) / MEASURED_S, gap


@pytest.mark.parametrize(
    ("depth_s", "rest_s", "found"),
    [
        pytest.param(0.03, 0.2, 9, id="keeps up"),
        pytest.param(0.11, 0.23, 8, id="just so"),
        pytest.param(0.13, 0.35, 8, id="slower than the camera"),
        pytest.param(0.03, 0.4, 8, id="slower, with quick depth"),
    ],
)
async def test_law_looking_ahead_makes_pictures_younger_and_no_fewer(
    settings: Settings,
    worker: EngineClient,
    engine: FakeEngineModule,
    monkeypatch: pytest.MonkeyPatch,
    depth_s: float,
    rest_s: float,
    found: int,
) -> None:
    """By most of what depth of the frames takes that were seen, and as smoothly."""
    monkeypatch.setattr(running_session, "CAMERA_FPS", 30)
    timed = Timed(engine, depth_s, rest_s, monkeypatch)
    with monkeypatch.context() as plain:

        async def nothing(*given: Any) -> None: ...

        for name in ("while_they_come", "before_they_are_taken"):
            plain.setattr(LookAhead, name, nothing)
        age, late, fps, gap = await played(settings, worker)
        assert not any(timed.found)
    timed.found.clear()
    ahead_age, ahead_late, ahead_fps, ahead_gap = await played(settings, worker)
    assert sum(timed.found) / len(timed.found) >= found
    gained = 0.6 * timed.frame_s * found
    assert ahead_age < age - gained and ahead_late < late - gained
    assert ahead_fps > 0.985 * fps and ahead_gap < gap + 0.02
