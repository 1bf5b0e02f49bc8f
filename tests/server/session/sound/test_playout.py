"""Playout of sound in virtual time: the test is the microphone and the screen."""

import asyncio

import numpy as np
import pytest

from server.session.sound.opus import BLOCK, Samples
from server.session.sound.packets import HOLD_S, RATE_HZ
from server.session.sound.playout import LATE_LIMIT_S, SoundBlock, SoundPlayout
from tests.server.session.sound.sounds import click, coded, loudest, tone
from tests.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


class Stage:
    """A microphone, and pictures of the age that the test says; None: none go out."""

    def __init__(self, sound: Samples, age: float | None) -> None:
        self.now = asyncio.get_running_loop().time
        self.unheard: list[int] = []
        self.playout = SoundPlayout(self.now, self.unheard.append)
        self.age = age
        self.heard: list[SoundBlock] = []
        self.leave = self.playout.listen(self.heard.append)
        self.began = self.now()  # when the microphone heard the first sample
        self._tasks = [asyncio.create_task(work) for work in (self._speak(coded(sound)), self._show())]

    async def _speak(self, packets: list[bytes]) -> None:
        for n, data in enumerate(packets):
            await asyncio.sleep(self.began + n * BLOCK / RATE_HZ - self.now())
            self.playout.packet(n * BLOCK, data)

    async def _show(self) -> None:
        while True:
            if self.age is not None:
                self.playout.shown(self.now() - self.age, self.now())
            await asyncio.sleep(1 / 24)

    def moment(self) -> float:
        """How long after the beginning the loudest of all that was heard went out."""
        samples = np.concatenate([block.samples for block in self.heard])
        at = loudest(samples)
        return self.heard[at // BLOCK].time - self.began + at % BLOCK / RATE_HZ

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.playout.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.parametrize("age", [0.15, 0.6, 2.5])
async def test_law_the_delay_is_the_age_of_the_pictures(age):
    stage = Stage(click(3.0, at=1.0), age)
    await asyncio.sleep(6)
    assert stage.moment() == pytest.approx(1.0 + age, abs=0.006)  # of this 5 ms are the click itself
    await stage.close()


@pytest.mark.parametrize("change", [0.03, -0.03, 0.3, -0.3])
async def test_law_another_age_is_followed(change):
    stage = Stage(click(12.0, at=10.0), 0.8)
    await asyncio.sleep(3)
    stage.age = 0.8 + change
    await asyncio.sleep(10)
    assert stage.moment() == pytest.approx(10.8 + change, abs=0.02)
    await stage.close()


async def test_law_blocks_go_out_every_20_ms_and_their_times_are_those_of_the_clock():
    stage = Stage(tone(2.0), 0.5)
    await asyncio.sleep(2)
    times = [block.time for block in stage.heard]
    assert len(times) == pytest.approx(100, abs=2)
    assert np.diff(times) == pytest.approx(0.02) and set(np.diff([one.pts for one in stage.heard])) == {BLOCK}
    await stage.close()


async def test_law_without_pictures_it_is_silent_and_afterwards_it_fits_again():
    stage = Stage(tone(20.0) // 8 + click(20.0, at=15.0) // 2, 0.5)
    await asyncio.sleep(5)
    stage.age = None
    await asyncio.sleep(5)
    silent = [block for block in stage.heard if stage.began + 6.2 < block.time < stage.began + 10]
    assert len(silent) > 150 and not any(block.samples.any() for block in silent)
    stage.age = 0.9
    await asyncio.sleep(9)
    assert stage.moment() == pytest.approx(15.9, abs=0.02)
    await stage.close()


async def test_law_no_more_is_held_than_some_seconds_and_who_listens_late_hears_what_fits():
    stage = Stage(click(40.0, at=35.0), 0.5)
    stage.leave()
    await asyncio.sleep(30)
    assert len(stage.playout.packets) == HOLD_S * 50 + 1 and not stage.heard
    stage.playout.listen(stage.heard.append)
    await asyncio.sleep(9)
    assert stage.moment() == pytest.approx(35.5, abs=0.006)
    assert not stage.unheard
    await stage.close()


async def test_without_sound_there_is_no_task_and_no_block():
    stage = Stage(tone(0.0), 0.5)
    await asyncio.sleep(1)
    before = asyncio.all_tasks()
    await asyncio.sleep(30)
    assert asyncio.all_tasks() == before and not stage.heard and not stage.playout.has_come
    await stage.close()


async def test_it_rests_when_no_sound_has_come_for_long_and_goes_on_with_the_next():
    stage = Stage(tone(1.0), 0.5)
    await asyncio.sleep(HOLD_S + 5)
    count = len(stage.heard)
    await asyncio.sleep(30)
    assert len(stage.heard) == count
    for n in range(100):
        stage.playout.packet(1_000_000 + n * BLOCK, coded(tone(0.02))[0])
        await asyncio.sleep(0.02)
    assert len(stage.heard) > count + 90 and stage.heard[-1].samples.any()
    assert np.all(np.diff([block.pts for block in stage.heard]) > 0)
    await stage.close()


async def test_law_a_loop_that_was_held_up_goes_on_from_now(monkeypatch):
    stage = Stage(tone(4.0), 0.5)
    await asyncio.sleep(2)
    count = len(stage.heard)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.advance(1.0)  # nothing ran meanwhile
    await asyncio.sleep(0.1)
    late = stage.heard[count + 1 :]
    assert len(late) < 8, "what was missed is not made up for"
    assert late[-1].pts - stage.heard[count - 1].pts == pytest.approx(
        1.1 * RATE_HZ, abs=LATE_LIMIT_S * RATE_HZ
    )
    await stage.close()


async def test_a_flood_is_counted():
    stage = Stage(tone(2.0), 0.5)
    data = coded(tone(0.02))[0]
    await asyncio.sleep(0.5)
    for n in range(5000):
        stage.playout.packet(n, data)
    await asyncio.sleep(1)
    assert sum(stage.unheard) > 3000
    await stage.close()


async def test_a_bug_in_it_ends_the_sound_alone(monkeypatch, caplog):
    stage = Stage(tone(2.0), 0.5)
    monkeypatch.setattr("server.session.sound.playout._Line.render", lambda *_: 1 / 0)
    await asyncio.sleep(2)
    assert "The sound of this session failed" in caplog.text and not stage.heard
    await stage.close()
