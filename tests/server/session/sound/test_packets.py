"""Packets of sound: the test is the network, and brings the clock."""

import random

import pytest

from server.session.sound.packets import HOLD_S, MAX_BYTES, MAX_PACKETS, RATE_HZ, SoundPackets

BLOCK = 960


def fed(count: int, origin: int = 0, late=lambda n: 0.0) -> SoundPackets:
    """`count` packets of 20 ms, the n-th recorded at 100 + n / 50 s and held up by `late(n)`."""
    packets = SoundPackets()
    for n in range(count):
        packets.put((origin + n * BLOCK) % (1 << 32), b"%d" % n, 100 + n / 50 + late(n))
    return packets


@pytest.mark.parametrize("origin", [0, 12345, (1 << 32) - 5 * BLOCK])
def test_law_a_position_is_where_the_sound_of_that_time_lies(origin):
    """Also through a wrap of the 32 bits, and with packets that are held up."""
    late = random.Random(1)
    packets = fed(50, origin, lambda n: late.uniform(0, 0.05) if n else 0.0)
    for n, packet in enumerate(packets.take(1 << 62)):
        assert packet.data == b"%d" % n
        assert abs(packet.position - packets.position(100 + n / 50)) < 0.001 * RATE_HZ


def test_law_order_is_that_of_the_timestamps_and_nothing_is_taken_twice():
    packets = SoundPackets()
    for n in (0, 2, 1, 3, 2):
        packets.put(n * BLOCK, b"%d" % n, 100.0 + n / 50)
    begin = packets.position(100.0)
    assert [one.data for one in packets.take(begin + 2 * BLOCK)] == [b"0", b"1"]
    packets.put(BLOCK // 2, b"late", 100.1)
    assert [one.data for one in packets.take(begin + 9 * BLOCK)] == [b"2", b"3"]
    assert packets.dropped == 2, "one was doubled, one came too late"


def test_law_no_more_is_held_than_some_seconds():
    packets = fed(2000)
    assert len(packets) == HOLD_S * 50 + 1 and packets.dropped == 0, "forgotten: nobody has asked"
    assert packets.take(1 << 62)[-1].data == b"1999"


def test_law_a_flood_is_bounded_and_counted():
    packets = SoundPackets()
    for n in range(5000):
        packets.put(n, b"x", 100.0)
    assert len(packets) == MAX_PACKETS and packets.dropped == 5000 - MAX_PACKETS


def test_packets_without_sound_or_too_large_are_counted():
    packets = SoundPackets()
    for n, data in enumerate([b"", b"x" * (MAX_BYTES + 1), b"x" * MAX_BYTES]):
        packets.put(n * BLOCK, data, 100.0 + n / 50)
    assert len(packets) == 1 and packets.dropped == 2


def test_whoever_begins_again_with_other_timestamps_is_heard_at_the_right_time():
    packets = fed(10)
    for n in range(10):
        packets.put(3_000_000_000 + n * BLOCK, b"again", 105 + n / 50)
    again = [one for one in packets.take(1 << 62) if one.data == b"again"]
    assert [one.position for one in again] == [packets.position(105 + n / 50) for n in range(10)]


def test_timestamps_at_random_are_held_near_the_time_of_their_arrival():
    packets, numbers = SoundPackets(), random.Random(2)
    for n in range(1000):
        packets.put(numbers.getrandbits(32), b"x", 100 + n / 50)
    assert len(packets) <= MAX_PACKETS
    newest = packets.take(1 << 62)[-1].position
    assert abs(newest - packets.position(120)) < RATE_HZ


def test_drift_of_the_microphones_clock_is_followed():
    packets = SoundPackets()
    for n in range(50 * 600):  # ten minutes, 100 ppm slow
        packets.put(n * BLOCK, b"x", 100 + n / 50 * (1 + 1e-4))
    newest = packets.take(1 << 62)[-1].position
    assert abs(newest - packets.position(100 + (50 * 600 - 1) / 50 * (1 + 1e-4))) < 0.001 * RATE_HZ
