"""Laws of the buffer in front of the decoder: no frame waits for its successor, none is lost or mixed up."""

import pytest
from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer, use_marker_jitter_buffer


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


def new_buffer() -> MarkerJitterBuffer:
    return MarkerJitterBuffer(capacity=64, is_video=True)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_a_frame_comes_with_its_last_packet(sizes: list[int]) -> None:
    buffer, packets = new_buffer(), iter(packets_of(sizes))
    for frame, size in enumerate(sizes):
        *before, last = (buffer.add(next(packets)) for _ in range(size))
        assert all(found == (False, None) for found in before)
        needs_key_frame, found = last
        assert not needs_key_frame and found is not None
        assert (found.data, found.timestamp) == (text_of(frame, size), 3000 * frame)


@given(st.lists(st.integers(1, 4), min_size=3, max_size=20), st.randoms())
def test_packets_out_of_order_give_the_same_frames_in_order(sizes: list[int], random) -> None:
    packets = packets_of(sizes)
    first, *rest = packets
    for start in range(0, len(rest), 3):  # near each other only, as on a network
        part = rest[start : start + 3]
        random.shuffle(part)
        rest[start : start + 3] = part
    buffer = new_buffer()
    found = [frame for packet in (first, *rest) if (frame := buffer.add(packet)[1]) is not None]
    seen = [frame.timestamp // 3000 for frame in found]
    assert seen == sorted(set(seen))
    assert all(
        frame.data == text_of(number, sizes[number]) for frame, number in zip(found, seen, strict=True)
    )
    assert len(found) >= len(sizes) - 3  # two that are complete at once: one now, one with the next packet


@given(st.lists(st.integers(1, 5), min_size=2, max_size=20))
def test_without_marks_it_is_aiortcs_own(sizes: list[int]) -> None:
    ours, theirs = new_buffer(), JitterBuffer(capacity=64, is_video=True)
    for packet in packets_of(sizes, marked=False):
        (flag, mine), (other_flag, other) = ours.add(packet), theirs.add(packet)
        assert flag == other_flag and (mine is None) == (other is None)
        assert mine is None or other is None or mine.data == other.data


def test_padding_after_a_mark_is_no_frame() -> None:
    packets = packets_of([2, 1, 2])
    packets[2]._data, packets[2].marker, packets[2].timestamp = b"", 0, packets[1].timestamp
    buffer = new_buffer()
    found = [frame.data for packet in packets if (frame := buffer.add(packet)[1]) is not None]
    assert found == [text_of(0, 2), text_of(2, 2)]


def test_a_late_copy_of_a_large_frame_changes_nothing() -> None:
    buffer = MarkerJitterBuffer(capacity=512, is_video=True)
    packets = packets_of([120, *(4,) * 30])
    for packet in packets[:120]:
        buffer.add(packet)
    assert buffer.add(packets[3]) == (False, None)
    found = [frame for packet in packets[120:] if (frame := buffer.add(packet)[1]) is not None]
    assert len(found) == 30


def test_a_sender_that_begins_anew_is_heard() -> None:
    buffer = MarkerJitterBuffer(capacity=64, is_video=True)
    for packet in packets_of([4] * 10, first=40_000):
        buffer.add(packet)
    anew = packets_of([4] * 10, first=20_000)  # timestamps begin again, too
    found = [frame.data for packet in anew if (frame := buffer.add(packet)[1]) is not None]
    assert found[-1] == text_of(9, 4)


async def test_a_receiver_takes_it() -> None:
    pc = RTCPeerConnection()
    receiver = pc.addTransceiver("video").receiver
    use_marker_jitter_buffer(receiver)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, MarkerJitterBuffer)
    await pc.close()
    with pytest.raises(AttributeError):
        use_marker_jitter_buffer(object())  # pyright: ignore[reportArgumentType] stands for another aiortc
