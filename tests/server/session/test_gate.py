import asyncio

import numpy as np
import pytest
from av import VideoFrame

from server.media.pacing import MediaClock, Pacer
from server.metrics import Metrics, StreamMeter
from server.session.camera import CameraFeed
from server.session.gate import GenerationGate
from tests.server.pictures import picture

pytestmark = pytest.mark.virtual_time


class Gated:
    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self.feed, self.pacer = CameraFeed("abc", 30, now), Pacer(MediaClock())
        self.gate = GenerationGate(self.feed, self.pacer, StreamMeter(Metrics(), now))

    async def film(self, frames: int) -> None:
        for _ in range(frames):
            frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            self.feed.push(frame, asyncio.get_running_loop().time())
            await asyncio.sleep(1 / 30)


async def test_who_waits_goes_on_when_it_is_opened():
    gate = Gated().gate
    await gate.wait()
    gate.close()
    waiting = asyncio.create_task(gate.wait())
    await asyncio.sleep(5)
    assert not gate.is_open and not waiting.done()
    gate.open()
    await waiting
    assert gate.is_open and gate.opened_at == asyncio.get_running_loop().time()


async def test_law_nothing_from_before_a_pause_is_shown_after_it():
    gated = Gated()
    gated.pacer.push([picture()], 0.1, 0.0)
    await gated.film(12)
    gated.feed.take(9, asyncio.get_running_loop().time())
    gated.gate.close()
    assert len(gated.pacer) == 0
    await gated.film(40)
    gated.gate.open()
    now = asyncio.get_running_loop().time()
    assert gated.feed.take(12, now).times[0] > now - 15 / 30, "frames of the pause are passed over"


async def test_a_pause_is_not_taken_for_the_pace_of_chunks_and_what_it_swept_is_counted():
    gated, dropped = Gated(), []
    gated.gate._meter.dropped_more = lambda place, count: dropped.append((place, count))
    rgb, now = np.zeros((48, 64, 3), np.uint8), asyncio.get_running_loop().time

    def push() -> None:
        pictures = [Picture(rgb=rgb, chunk=0, frame=n, sequence=1, captured=0.0, made=0.0) for n in range(3)]
        gated.pacer.push(pictures, 0.1, now())

    push()
    await asyncio.sleep(0.5)
    push()
    assert gated.pacer.interval == pytest.approx(0.5)
    gated.gate.close()
    assert dropped == [("stale", 6)]
    await asyncio.sleep(60)
    gated.gate.open()
    push()
    assert gated.pacer.interval == pytest.approx(0.5)
