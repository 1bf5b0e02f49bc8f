"""Laws of the buffer in front of the decoder: no frame waits for its successor, none is lost or mixed up."""

import pytest
from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from hypothesis import given as given_of
from hypothesis import strategies as st

from server.webrtc.aiortc_patches.jitter_buffer import (
    CodedFrame,
    MarkerJitterBuffer,
    use_marker_jitter_buffer,
)


def packets_of(sizes: list[int], first: int = 65530, *, marked: bool = True) -> list[RtpPacket]:
    """Frames of so many packets each; sequence numbers wrap."""
    packets = []
    for frame, size in enumerate(sizes):
        for part in range(size):
            number = (first + len(packets)) % 65536
            packet = RtpPacket(
                sequence_number=number, timestamp=3000 * frame, marker=int(marked and part == size - 1)
            )
            packet._data = b"%d.%d " % (frame, part)
            packets.append(packet)
    return packets


def text_of(frame: int, size: int) -> bytes:
    return b"".join(b"%d.%d " % (frame, part) for part in range(size))


def given(buffer: MarkerJitterBuffer, packets: list[RtpPacket]) -> list[CodedFrame]:
    """All frames that come of these, in order."""
    firsts = [frame for packet in packets if (frame := buffer.add(packet)[1]) is not None]
    return [frame for first in firsts for frame in (first, *first.followers)]


def new_buffer() -> MarkerJitterBuffer:
    return MarkerJitterBuffer(capacity=64, is_video=True)


@given_of(st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_a_frame_comes_with_its_last_packet(sizes: list[int]) -> None:
    buffer, packets = new_buffer(), iter(packets_of(sizes))
    for frame, size in enumerate(sizes):
        *before, last = (buffer.add(next(packets)) for _ in range(size))
        assert all(found == (False, None) for found in before)
        needs_key_frame, found = last
        assert not needs_key_frame and found is not None
        assert (found.data, found.timestamp) == (text_of(frame, size), 3000 * frame)


@given_of(st.lists(st.integers(1, 4), min_size=3, max_size=20), st.randoms())
def test_packets_out_of_order_give_the_same_frames_in_order(sizes: list[int], random) -> None:
    packets = packets_of(sizes)
    first, *rest = packets
    for start in range(0, len(rest), 3):  # near each other only, as on a network
        part = rest[start : start + 3]
        random.shuffle(part)
        rest[start : start + 3] = part
    found = given(new_buffer(), [first, *rest])
    assert [(frame.data, frame.timestamp) for frame in found] == [
        (text_of(number, size), 3000 * number) for number, size in enumerate(sizes)
    ]


@given_of(st.lists(st.integers(1, 5), min_size=2, max_size=20))
def test_without_marks_it_is_aiortcs_own(sizes: list[int]) -> None:
    ours, theirs = new_buffer(), JitterBuffer(capacity=64, is_video=True)
    for packet in packets_of(sizes, marked=False):
        (flag, mine), (other_flag, other) = ours.add(packet), theirs.add(packet)
        assert flag == other_flag and (mine is None) == (other is None)
        assert mine is None or other is None or mine.data == other.data


def test_padding_after_a_mark_is_no_frame() -> None:
    packets = packets_of([2, 1, 2])
    packets[2]._data, packets[2].marker, packets[2].timestamp = b"", 0, packets[1].timestamp
    assert [frame.data for frame in given(new_buffer(), packets)] == [text_of(0, 2), text_of(2, 2)]


def test_a_late_copy_of_a_large_frame_changes_nothing() -> None:
    buffer = MarkerJitterBuffer(capacity=512, is_video=True)
    packets = packets_of([120, *(4,) * 30])
    for packet in packets[:120]:
        buffer.add(packet)
    assert buffer.add(packets[3]) == (False, None)
    assert len(given(buffer, packets[120:])) == 30


def test_a_sender_that_begins_anew_is_heard() -> None:
    buffer = MarkerJitterBuffer(capacity=64, is_video=True)
    for packet in packets_of([4] * 10, first=40_000):
        buffer.add(packet)
    anew = packets_of([4] * 10, first=20_000)  # timestamps begin again, too
    assert given(buffer, anew)[-1].data == text_of(9, 4)


def test_law_what_waited_for_one_packet_comes_with_it():
    packets = packets_of([2, 2, 1, 3, 1])
    buffer = new_buffer()
    assert len(given(buffer, [*packets[:2], *packets[3:]])) == 1
    assert [frame.timestamp // 3000 for frame in given(buffer, [packets[2]])] == [1, 2, 3, 4]


@given_of(st.lists(st.integers(1, 5), min_size=2, max_size=12), st.data())
def test_law_what_is_missing_is_what_has_not_come_though_later_ones_have(sizes, data):
    packets = packets_of(sizes)
    lost = set(data.draw(st.lists(st.integers(1, len(packets) - 1), max_size=20)))
    buffer = new_buffer()
    given(buffer, [packet for number, packet in enumerate(packets) if number not in lost])
    newest = max(set(range(len(packets))) - lost)
    assert buffer.missing() == [packets[n].sequence_number for n in sorted(lost) if n < newest]


@given_of(st.lists(st.integers(1, 5), min_size=3, max_size=12), st.data())
def test_law_given_up_no_spoilt_frame_comes_and_all_but_one_of_those_behind_do(sizes, data):
    packets = packets_of([*sizes, 1, 1, 1])
    lost = data.draw(st.integers(1, sum(sizes) - 1))
    buffer = new_buffer()
    before = given(buffer, [*packets[:lost], *packets[lost + 1 : sum(sizes) + 1]])
    buffer.give_up(buffer.missing()[-1])
    assert not buffer.missing()
    found = before + given(buffer, [packets[lost], *packets[sum(sizes) + 1 :]])  # it may come after all
    numbers = [frame.timestamp // 3000 for frame in found]
    assert all(
        frame.data == text_of(n, [*sizes, 1, 1, 1][n]) for frame, n in zip(found, numbers, strict=True)
    )
    spoilt = packets[lost].timestamp // 3000
    assert numbers == sorted(set(numbers)) and spoilt not in numbers
    assert len(numbers) >= len(sizes) + 3 - 2, "that frame, and the one whose beginning nobody knows"


def test_law_what_is_missing_right_behind_is_given_up_too():
    """Nobody knows whether a frame begins with it."""
    packets = packets_of([1, 3, 3, 1])
    buffer = new_buffer()
    given(buffer, [packets[0], *packets[4:7]])
    buffer.give_up(packets[1].sequence_number)
    found = given(buffer, [*packets[2:4], packets[7]])
    assert [frame.timestamp // 3000 for frame in found] == [3]


def test_law_a_frame_given_up_half_way_stays_so_when_the_rest_of_it_comes():
    packets = packets_of([1, 3, 4, 1])
    buffer = new_buffer()
    given(buffer, [packets[0], packets[1], packets[2], packets[5]])  # lost: the end of 1, the beginning of 2
    buffer.give_up(buffer.missing()[-1])
    assert [frame.timestamp // 3000 for frame in given(buffer, packets[6:])] == [3]


async def test_a_receiver_takes_it() -> None:
    pc = RTCPeerConnection()
    receiver = pc.addTransceiver("video").receiver
    use_marker_jitter_buffer(receiver)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, MarkerJitterBuffer)
    await pc.close()
    with pytest.raises(AttributeError):
        use_marker_jitter_buffer(object())  # pyright: ignore[reportArgumentType] stands for another aiortc
