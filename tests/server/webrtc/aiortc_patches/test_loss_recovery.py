"""Laws of what becomes of lost packets, on a clock of the test's."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiortc import RTCPeerConnection

from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer
from server.webrtc.aiortc_patches.loss_recovery import (
    GIVE_UP_S,
    LOOK_PERIOD_S,
    NACK_AGAIN_S,
    NACK_BURST,
    NACK_SHARE,
    PLI_AGAIN_S,
    Gaps,
    LossRecovery,
)
from tests.server.webrtc.aiortc_patches.test_jitter_buffer import given, packets_of


def test_law_what_is_missing_is_asked_for_again_until_it_is_given_up():
    gaps, asked, now, given_up = Gaps(), [], 10.0, None
    while given_up is None:
        again, given_up = gaps.look([7, 9], now)
        asked += [now - 10] if again else []
        assert again in ([], [7, 9])
        now += LOOK_PERIOD_S
    assert given_up == 9 and now - LOOK_PERIOD_S - 10 == pytest.approx(GIVE_UP_S, abs=1.01 * LOOK_PERIOD_S)
    assert asked[0] == 0
    for before, after in pairwise([*asked, GIVE_UP_S]):
        assert after - before == pytest.approx(NACK_AGAIN_S, abs=1.01 * LOOK_PERIOD_S)


def test_law_a_gap_is_given_up_when_its_own_time_is_over():
    gaps = Gaps()
    assert gaps.look([1], 0.0) == ([1], None)
    assert gaps.look([1, 4], 0.25) == ([1, 4], None)
    assert gaps.look([1, 4], 0.36) == ([4], 1)
    assert gaps.look([4], 0.4) == ([], None)
    assert gaps.look([], 0.5) == ([], None)
    assert gaps.look([4], 0.6) == ([4], None), "another one of this number, later"


def test_law_all_that_is_late_is_given_up_at_once():
    gaps = Gaps()
    gaps.look([65534, 65535, 3], 0.0)
    assert gaps.look([65534, 65535, 3, 8], 0.5) == ([8], 3)


def test_law_no_more_is_asked_for_than_a_share_of_what_comes():
    """However much is missing: on a full line what is sent again takes the place of something new."""
    gaps, asked = Gaps(), 0
    for look in range(500):
        missing = list(range(look * 10, look * 10 + 40))
        asked += len(gaps.look(missing, look * LOOK_PERIOD_S, came=8)[0])
    assert NACK_SHARE * 8 * 500 - 1 <= asked <= NACK_SHARE * 8 * 500 + NACK_BURST


async def test_aiortc_asks_for_nothing_by_itself():
    connection = RTCPeerConnection()
    receiver = connection.addTransceiver("video").receiver
    place = "_RTCRtpReceiver__nack_generator"
    assert getattr(receiver, place) is not None
    LossRecovery(receiver, MarkerJitterBuffer(capacity=512, is_video=True), SimpleNamespace())  # pyright: ignore[reportArgumentType]
    assert getattr(receiver, place) is None
    await connection.close()


class Sender:
    """The receiver's side of RTCP, and the other end that answers or does not."""

    def __init__(self) -> None:
        self._RTCRtpReceiver__nack_generator: object | None = object()
        self.nacks: list[list[int]] = []
        self.plis = 0
        self.buffer = MarkerJitterBuffer(capacity=512, is_video=True)
        self.decoding = SimpleNamespace(wants_entry=False)
        self.recovery = LossRecovery(self, self.buffer, self.decoding)  # pyright: ignore[reportArgumentType]

    async def _send_rtcp_nack(self, ssrc: int, lost: list[int]) -> None:
        self.nacks.append(lost)

    async def _send_rtcp_pli(self, ssrc: int) -> None:
        self.plis += 1


@pytest.fixture
async def sender():
    sender = Sender()
    running = asyncio.create_task(sender.recovery.run())
    yield sender
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.virtual_time
async def test_law_a_lost_packet_stops_the_picture_no_longer_than_a_third_of_a_second(sender):
    """However few packets come: not until the buffer is full."""
    packets, now = packets_of([2] * 40), asyncio.get_running_loop().time
    shown: list[float] = []
    for number, packet in enumerate(packets):
        if number != 21:
            shown += [now()] * len(given(sender.buffer, [packet]))
        await asyncio.sleep(1 / 60)
    pauses = [after - before for before, after in zip(shown, shown[1:], strict=False)]
    assert max(pauses) < GIVE_UP_S + LOOK_PERIOD_S + 5 / 60
    assert len(shown) >= 40 - 2
    assert sender.nacks and all(lost == [packets[21].sequence_number] for lost in sender.nacks)
    assert len(sender.nacks) in (4, 5) and sender.plis >= 1 and sender.decoding.wants_entry


@pytest.mark.virtual_time
async def test_law_what_is_sent_again_in_time_costs_no_picture_and_no_key_frame(sender):
    packets = packets_of([3] * 20)
    found = given(sender.buffer, [*packets[:10], *packets[11:30]])
    await asyncio.sleep(GIVE_UP_S - 2 * LOOK_PERIOD_S)
    found += given(sender.buffer, [packets[10], *packets[30:]])
    await asyncio.sleep(5)
    assert [frame.timestamp // 3000 for frame in found] == list(range(20))
    assert sender.nacks == [[packets[10].sequence_number]] * len(sender.nacks) and sender.plis == 0


@pytest.mark.virtual_time
async def test_law_a_key_frame_is_asked_for_until_one_comes(sender):
    given(sender.buffer, packets_of([1]))
    sender.decoding.wants_entry = True
    await asyncio.sleep(4 * PLI_AGAIN_S + 2 * LOOK_PERIOD_S)
    asked = sender.plis
    assert 4 <= asked <= 5
    sender.decoding.wants_entry = False
    await asyncio.sleep(10)
    assert sender.plis == asked and not sender.nacks


@pytest.mark.virtual_time
async def test_before_anything_has_come_nothing_is_asked_for(sender):
    sender.decoding.wants_entry = True
    await asyncio.sleep(5)
    assert sender.plis == 0 and not sender.nacks


@pytest.mark.virtual_time
async def test_law_after_a_burst_of_loss_pictures_come_at_once(sender):
    """3 s of every fifth packet, none of which is sent again, then a clean link."""
    packets, now = packets_of([4] * 300), asyncio.get_running_loop().time
    clean_at, shown = None, []
    for number, packet in enumerate(packets):
        in_burst = 200 <= number < 560
        if number == 560:
            clean_at = now()
        if not (in_burst and number % 5 == 0):
            shown += [now()] * len(given(sender.buffer, [packet]))
        await asyncio.sleep(1 / 120)
    assert clean_at is not None
    first = next(at for at in shown if at > clean_at + GIVE_UP_S)
    assert first - clean_at < GIVE_UP_S + 2 * LOOK_PERIOD_S
    assert sum(at > clean_at for at in shown) >= (len(packets) - 560) // 4 - 2
