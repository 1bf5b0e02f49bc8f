"""Jitter buffer that gives a frame out when its last packet, which carries the RTP marker, has come.

aiortc's jitter buffer gives a frame away when it sees a packet of the next one: every picture of the camera
waits for its successor, 33 ms at 30 frames a second. But RTP marks the last packet of a frame (RFC 6184, 5.1
and RFC 7741, 4.1), and browsers and aiortc set the mark.
"""

from typing import Any

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint32_gt

CAPACITY = 512  # packets; aiortc's own for video, a power of 2
_PLACE = "_RTCRtpReceiver__jitter_buffer"  # aiortc has no public one


def use_marker_jitter_buffer(receiver: RTCRtpReceiver) -> None:
    """Before a video `receiver` has received anything. Raises AttributeError where aiortc keeps its buffer
    elsewhere."""
    getattr(receiver, _PLACE)
    setattr(receiver, _PLACE, MarkerJitterBuffer(capacity=CAPACITY, is_video=True))


class MarkerJitterBuffer(JitterBuffer):
    """What aiortc's would give with the next packet, it gives with this one, if that was the last missing."""

    _given: int | None = None  # RTP timestamp of the last frame

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        # A copy of what was given away: one far enough behind would be taken for a new beginning.
        if self._given is not None and not uint32_gt(packet.timestamp, self._given):
            behind = uint16_add(self._origin or 0, -packet.sequence_number)
            if 0 < behind <= self.capacity:
                return False, None
        needs_key_frame, frame = super().add(packet)
        self._given = self._given if frame is None else frame.timestamp
        return needs_key_frame, frame

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
