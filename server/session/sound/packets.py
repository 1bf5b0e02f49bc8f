"""Packets of a publisher's sound as they came, coded, in the order of their time. Pure: no clock of its own.

A position is a count of samples, at 48 kHz, on an axis of the server's clock: where what was recorded at a
time lies is told by `position`. Whatever is held up on its way, doubled or out of order finds its place.
"""

from bisect import bisect_left
from typing import NamedTuple

from server.session.camera_clock import LOST_S, CameraClock

RATE_HZ = 48_000  # of Opus in RTP (RFC 7587, 4.1), whatever was recorded
HOLD_S = 12.0  # no picture is that late
MAX_PACKETS = 1200  # likewise: of 10 ms each; browsers send 20 ms
MAX_BYTES = 1500  # of one packet; Opus has 1275 a frame


class SoundPacket(NamedTuple):
    """One coded packet, and the position where its sound begins."""

    position: int
    data: bytes


class SoundPackets:
    """Bounded in time, number and bytes. What gives way to more, comes too late or twice is counted; what
    nobody asks for is forgotten after HOLD_S.

    packets.put(timestamp, data, now)                       # as they come
    packets.take(packets.position(now - delay) + 960)       # what is to be heard by then
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._clock = CameraClock()
        self._held: list[SoundPacket] = []
        self._timestamp = 0  # of the newest packet: 32 bits, and
        self._unwrapped = 0
        self._offset: float | None = None  # seconds from the timestamps to the server's clock
        self._shift = 0  # samples from the timestamps to positions
        self._taken = 0  # what lies before is asked for no more

    def __len__(self) -> int:
        return len(self._held)

    def put(self, timestamp: int, data: bytes, now: float) -> None:
        """A packet has come: `timestamp` in samples, of any origin, modulo 2 ** 32; `now` in seconds."""
        self._unwrapped += (timestamp - self._timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        self._timestamp = timestamp
        seconds = self._unwrapped / RATE_HZ
        offset = self._clock.map(seconds, now) - seconds
        if self._offset is None or abs(offset - self._offset) > LOST_S:  # a new timeline
            self._shift = round(offset * RATE_HZ)
        self._offset = offset
        packet = SoundPacket(self._unwrapped + self._shift, data)
        at = bisect_left(self._held, (packet.position,))
        is_doubled = at < len(self._held) and self._held[at].position == packet.position
        if is_doubled or packet.position < self._taken or not 0 < len(data) <= MAX_BYTES:
            self.dropped += 1
            return
        self._held.insert(at, packet)
        del self._held[: bisect_left(self._held, (self._held[-1].position - HOLD_S * RATE_HZ,))]
        if (surplus := len(self._held) - MAX_PACKETS) > 0:
            self.dropped += surplus
            del self._held[:surplus]

    def position(self, time: float) -> int:
        """Where the sound lies that was recorded with a camera's picture of `time`, in seconds."""
        offset = 0.0 if self._offset is None else self._offset
        return round((time - offset) * RATE_HZ) + self._shift

    def take(self, before: int) -> list[SoundPacket]:
        """All that begin before this position, in order; they are held no more."""
        count = bisect_left(self._held, (before,))
        taken, self._held[:count] = self._held[:count], []
        self._taken = max(self._taken, before)
        return taken
