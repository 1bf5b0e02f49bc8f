"""Laws of the camera over a bad link: recovery, buffer and a sender that answers as browsers do, by a seed.

The link is the model that `python -m scripts.bench.networks` lays between a real browser and a real server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtp import RtpPacket

from scripts.bench.networks.figures import Continuity, continuity, usual_again
from scripts.bench.networks.shaping import CLEAN, Conditions, Shaper
from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer
from server.webrtc.aiortc_patches.loss_recovery import LossRecovery

FPS = 30
PACKETS, KEY_PACKETS = 4, 12  # of a frame
WAY_S = 0.02  # one way
SEEDS = range(4)
STILL_S = 0.4  # at most; half a second is the goal, of which a busy machine takes its share
USUAL = Continuity(fps=float(FPS), longest_gap_s=0.05, gaps=0)


class Browser:
    """A sender of video. It sends again what it is asked for, and key frames; it notes what comes."""

    def __init__(self, seed: int) -> None:
        self._RTCRtpReceiver__nack_generator: object | None = object()
        self.up, self.down = Shaper(f"{seed} up"), Shaper(f"{seed} down")
        self.decoded: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._buffer = MarkerJitterBuffer(capacity=512, is_video=True)
        self._decoding = SimpleNamespace(wants_entry=False)
        self._sent: dict[int, RtpPacket] = {}
        self._owes_key_frame = True
        self._recovery = LossRecovery(self, self._buffer, self._decoding)  # pyright: ignore[reportArgumentType]

    def set(self, conditions: Conditions) -> float:
        self.up.conditions = self.down.conditions = conditions
        return self._loop.time()

    async def send_frames(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recovery.run())
            for frame in range(1 << 30):
                count = KEY_PACKETS if self._owes_key_frame else PACKETS
                data, self._owes_key_frame = b"key" if self._owes_key_frame else b"delta", False
                for part in range(count):
                    number = len(self._sent)
                    packet: Any = RtpPacket(
                        sequence_number=number % 65536, timestamp=3000 * frame, marker=int(part == count - 1)
                    )
                    packet.ssrc = 1
                    packet._data = data
                    self._sent[number] = packet
                    self._send(number)
                await asyncio.sleep(1 / FPS)

    def _send(self, number: int) -> None:
        if (at := self.up.arrival(1000, self._loop.time())) is not None:
            self._loop.call_at(at + WAY_S, self._receive, self._sent[number])

    def _receive(self, packet: RtpPacket) -> None:
        _, frame = self._buffer.add(packet)
        for one in (frame, *frame.followers) if frame is not None else ():
            self.decoded.append(self._loop.time())
            if one.data.startswith(b"key"):
                self._decoding.wants_entry = False

    # What the receiver sends, on the same link:

    async def _send_rtcp_nack(self, ssrc: int, lost: list[int]) -> None:
        def send_again() -> None:
            for number in lost:
                self._send(number)

        self._feed_back(send_again)

    async def _send_rtcp_pli(self, ssrc: int) -> None:
        def owe() -> None:
            self._owes_key_frame = True

        self._feed_back(owe)

    def _feed_back(self, arrive: Callable[[], None]) -> None:
        if (at := self.down.arrival(60, self._loop.time())) is not None:
            self._loop.call_at(at + WAY_S, arrive)


@contextlib.asynccontextmanager
async def sending_browser(seed: int) -> AsyncIterator[Browser]:
    """One that has sent for a second, and sends on until the end."""
    browser = Browser(seed)
    sending = asyncio.create_task(browser.send_frames())
    await asyncio.sleep(1)
    yield browser
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", SEEDS)
async def test_law_at_5_percent_loss_the_camera_never_stands_still_for_0_4_s(seed: int):
    async with sending_browser(seed) as browser:
        begin = browser.set(Conditions(loss=0.05))
        await asyncio.sleep(20)
        found = continuity(browser.decoded, begin, asyncio.get_running_loop().time())
    assert found.longest_gap_s < STILL_S and found.fps > 0.95 * FPS


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", SEEDS)
async def test_law_at_20_percent_loss_nine_camera_frames_of_ten_come(seed: int):
    async with sending_browser(seed) as browser:
        begin = browser.set(Conditions(loss=0.2))
        await asyncio.sleep(12)
        found = continuity(browser.decoded, begin, asyncio.get_running_loop().time())
    assert found.fps > 0.9 * FPS


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", SEEDS)
async def test_law_after_a_burst_the_camera_is_as_usual_within_a_second_and_a_half(seed: int):
    async with sending_browser(seed) as browser:
        for _ in range(2):
            browser.set(Conditions(loss=0.2))
            await asyncio.sleep(3)
            over = browser.set(CLEAN)
            await asyncio.sleep(5)
            again = usual_again(browser.decoded, over, over + 5, USUAL)
            assert again is not None and again < 1.5
