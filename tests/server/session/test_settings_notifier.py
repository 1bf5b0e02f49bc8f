import asyncio

import pytest

from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    GuidanceState,
    OutputState,
    SeedState,
    SessionSettings,
    ShapeState,
    TimelineState,
)
from server.protocol.requests import TimelineStep, WeightedPrompt
from server.session.settings_notifier import DELAY_S, SettingsNotifier

pytestmark = pytest.mark.virtual_time


def settings(text: str = "clay", position: float | None = None) -> SessionSettings:
    steps = (TimelineStep(at=0, text="a"),)
    timeline = None
    if position is not None:
        timeline = TimelineState(steps=steps, loop=False, duration=None, position=position, step=0)
    return SessionSettings(
        prompts=(WeightedPrompt(text=text),),
        transition=None,
        guidance=GuidanceState(scale=1.0, adaptive=0.0, keyframes=None, loop=False),
        depth=DepthState(enabled=True, smoothing=0.0, refinement=0.0, points=()),
        controls=ControlsState(gray=0.0, lines=0.0),
        references=(),
        mask=None,
        region=None,
        camera_start=CameraStartState(noise_scale=1.0, follows_motion=False),
        steps=None,
        latency="standard",
        shape=ShapeState(orientation="wide", fit="fill", width=None, height=None),
        seed=SeedState(mode="fixed", seed=3, current=3),
        frozen=False,
        paused=False,
        recording=False,
        timeline=timeline,
        output=OutputState(fps=None, quality="high"),
    )


class Told:
    """News of settings that the test changes, each with its time."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.settings = settings()
        self.notifier = SettingsNotifier(lambda: self.settings, self._tell)
        self.told = []

    def _tell(self, settings):
        self.told.append((round(self.loop.time() - self.began, 6), settings))


async def test_changes_that_come_together_are_told_once_with_what_is_in_effect_then():
    told = Told()
    for number in range(5):
        told.settings = settings(f"prompt {number}")
        told.notifier.schedule()
        await asyncio.sleep(DELAY_S / 10)
    await asyncio.sleep(10)
    assert told.told == [(DELAY_S, settings("prompt 4"))]


async def test_a_change_after_the_news_is_told_after_another_delay():
    told = Told()
    told.notifier.schedule()
    await asyncio.sleep(1)
    told.settings = settings("gold")
    told.notifier.schedule()
    await asyncio.sleep(10)
    assert told.told == [(DELAY_S, settings()), (1 + DELAY_S, settings("gold"))]


async def test_what_is_as_it_was_is_not_told_again():
    told = Told()
    for _ in range(3):
        told.notifier.schedule()
        await asyncio.sleep(1)
    assert len(told.told) == 1


async def test_a_timeline_that_plays_is_no_news_but_another_one_is():
    told = Told()
    for position in (1.0, 2.0, None):
        told.settings = settings(position=position)
        told.notifier.schedule()
        await asyncio.sleep(1)
    assert [found for _, found in told.told] == [settings(position=1.0), settings()]


async def test_nothing_is_told_once_it_is_closed():
    told = Told()
    told.notifier.schedule()
    told.notifier.close()
    late = Told()
    late.notifier.close()
    late.notifier.schedule()
    await asyncio.sleep(10)
    assert not told.told and not late.told
