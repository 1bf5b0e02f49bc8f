"""The counter of received bytes tells what aiortc's tells, and costs nothing before it counts."""

import tracemalloc
from itertools import accumulate

import aiortc.rate
import pytest
from aiortc import RTCPeerConnection
from hypothesis import example, given
from hypothesis import strategies as st

from server.webrtc.aiortc_patches.rate_counter import RateCounter, count_bytes_in_buckets_used

AIORTCS_OWN = aiortc.rate.RateCounter
WINDOW_MS = 50


@pytest.fixture(autouse=True)
def unpatched(monkeypatch):
    monkeypatch.setattr(aiortc.rate, "RateCounter", AIORTCS_OWN)


STEPS = st.lists(st.tuples(st.integers(0, 2 * WINDOW_MS), st.integers(0, 1500), st.booleans()), max_size=40)


@given(STEPS)
@example([(0, 1, False), (WINDOW_MS - 1, 2, False), (1, 4, False)])
def test_it_tells_what_aiortcs_tells(steps: list[tuple[int, int, bool]]) -> None:
    ours, theirs = RateCounter(WINDOW_MS), AIORTCS_OWN(WINDOW_MS)
    times = accumulate(later for later, _, _ in steps)
    for now, (_, value, is_reset) in zip(times, steps, strict=True):
        assert ours.rate(now) == theirs.rate(now)
        if is_reset:
            ours.reset()
            theirs.reset()
        ours.add(value, now)
        theirs.add(value, now)
        assert ours.rate(now) == theirs.rate(now)


def test_law_it_holds_no_more_than_its_window_however_much_comes():
    ours, theirs = RateCounter(WINDOW_MS), AIORTCS_OWN(WINDOW_MS)
    for packet in range(100 * WINDOW_MS):
        for counter in (ours, theirs):
            counter.add(packet, packet // 50)
    assert len(ours._came) <= WINDOW_MS
    assert ours.rate(100) == theirs.rate(100)


async def size_of_a_receiver() -> int:
    pc = RTCPeerConnection()
    pc.addTransceiver("video")  # whatever is made once is there now
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        pc.addTransceiver("video")
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        await pc.close()


async def test_a_receiver_has_no_object_for_each_millisecond():
    plain = await size_of_a_receiver()
    count_bytes_in_buckets_used()
    assert await size_of_a_receiver() < plain / 2
