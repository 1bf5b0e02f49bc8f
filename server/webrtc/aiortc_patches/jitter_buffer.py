"""Jitter buffer that gives a frame out when its last packet, which carries the RTP marker, has come.

aiortc's jitter buffer gives a frame away when it sees a packet of the next one: every picture of the camera
waits for its successor, 33 ms at 30 frames a second. But RTP marks the last packet of a frame (RFC 6184, 5.1
and RFC 7741, 4.1), and browsers and aiortc set the mark. It also gives one frame a packet, so that what piled
up behind a lost packet stays behind; and waits for that one until its 512 places are taken.
"""

from typing import Any

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint32_gt

CAPACITY = 512  # packets; aiortc's own for video, a power of 2
_PLACE = "_RTCRtpReceiver__jitter_buffer"  # aiortc has no public one


def use_marker_jitter_buffer(receiver: RTCRtpReceiver) -> "MarkerJitterBuffer":
    """Before a video `receiver` has received anything. Raises AttributeError where aiortc keeps its buffer
    elsewhere."""
    getattr(receiver, _PLACE)
    buffer = MarkerJitterBuffer(capacity=CAPACITY, is_video=True)
    setattr(receiver, _PLACE, buffer)
    return buffer


class CodedFrame(JitterFrame):
    """A frame, and those after it that became whole with the same packet."""

    def __init__(self, data: bytes, timestamp: int) -> None:
        super().__init__(data, timestamp)
        self.rtp_timestamp = timestamp  # the other one is mapped by aiortc, of the first frame alone
        self.followers: list[CodedFrame] = []


class MarkerJitterBuffer(JitterBuffer):
    """What aiortc's would give with the next packet, it gives with this one, if that was the last missing."""

    ssrc: int | None = None  # of the newest packet
    came = 0  # packets, also those that are of no use
    _given: int | None = None  # RTP timestamp of the last frame
    _given_up: int | None = None  # that of a frame whose beginning is lost: no packet of it is of use

    def add(self, packet: RtpPacket) -> tuple[bool, CodedFrame | None]:
        self.ssrc = packet.ssrc
        self.came += 1
        if packet.timestamp == self._given_up:
            packet._data = b""  # pyright: ignore[reportAttributeAccessIssue] -- as padding, in its place
        # A copy of what was given away: one far enough behind would be taken for a new beginning.
        if self._given is not None and not uint32_gt(packet.timestamp, self._given):
            behind = uint16_add(self._origin or 0, -packet.sequence_number)
            if 0 < behind <= self.capacity:
                return False, None
        needs_key_frame, found = super().add(packet)
        if found is None:
            return needs_key_frame, None
        frame = _coded(found)
        while (follower := self._remove_frame(packet.sequence_number)) is not None:
            frame.followers.append(_coded(follower))
        self._given = (frame.followers or [frame])[-1].rtp_timestamp
        return needs_key_frame, frame

    def missing(self) -> list[int]:
        """Sequence numbers that have not come though later ones have, in order."""
        if not any(self._packets):
            return []
        absent = [count for count in range(self.capacity) if self._packet(count) is None]
        newest = next((n for n in reversed(range(self.capacity)) if self._packet(n) is not None), -1)
        return [uint16_add(self._origin or 0, count) for count in absent if count < newest]

    def give_up(self, sequence_number: int) -> None:
        """Wait no more for this packet, one of missing(), and those before it.

        What is whole behind them comes with the next packet. The frame right behind is left out, too: nobody
        knows whether it began with the packet that is lost.
        """
        count = uint16_add(sequence_number, -(self._origin or 0)) + 1
        while self._packet(count) is None:
            count += 1
        self._given = self._given_up = self._packet(count).timestamp
        self.remove(count)
        for n in range(self.capacity):
            if (packet := self._packet(n)) is not None and packet.timestamp == self._given_up:
                packet._data = b""

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        while (first := self._packet(0)) is not None and not first._data:  # padding, which may follow a mark
            self.remove(1)
        return super()._remove_frame(sequence_number) or self._marked_frame()

    def _marked_frame(self) -> JitterFrame | None:
        """The oldest frame, if all its packets up to the marked one are here."""
        data: list[bytes] = []
        for count in range(self.capacity):
            if (packet := self._packet(count)) is None:
                return None
            data.append(packet._data)
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data=b"".join(data), timestamp=packet.timestamp)
        return None

    def _packet(self, count: int) -> Any:  # what the receiver adds to an RtpPacket has no type
        """The packet `count` after the oldest one, if it is here."""
        return self._packets[((self._origin or 0) + count) % self.capacity]


def _coded(frame: JitterFrame) -> CodedFrame:
    return CodedFrame(frame.data, frame.timestamp)
