"""Timeline of a clip: packets of a file whose clock starts anywhere, falls or leaps, on one clock from 0."""

from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet

FALL = Fraction(1, 10)  # seconds back that are no mere disorder
LEAP = Fraction(10)  # seconds on that are no mere pause, in files whose clock may break at all


@dataclass(slots=True)
class _Stream:
    epoch: int = 0  # between two breaks of the file's clock
    newest: Fraction | None = None  # as the file has it
    end: Fraction = Fraction(0)  # on the timeline


class ClipTimeline:
    """Moves packets, in the order in which they lie in the file, pictures and sound alike.

    timeline = ClipTimeline(origin, may_leap=...)
    for packet in container.demux(video, audio):
        timeline.place(packet)

    A break is seen in one stream first, whose time goes on there; others follow when they come to theirs.
    """

    def __init__(self, origin: Fraction, *, may_leap: bool) -> None:
        """`origin`: seconds of the file that become 0."""
        self._may_leap = may_leap
        self._offsets = [-origin]  # of every epoch
        self._streams: dict[int, _Stream] = {}

    def place(self, packet: Packet) -> None:
        """Give the packet its times on the timeline; one without any keeps none."""
        if packet.time_base is None:
            return
        base = Fraction(packet.time_base)
        stream = self._streams.setdefault(packet.stream.index, _Stream())
        if packet.dts is not None:  # the other, of showing, goes to and fro
            self._follow(stream, packet.dts * base, (packet.duration or 0) * base)
        shift = round(self._offsets[stream.epoch] / base)
        packet.dts = None if packet.dts is None else packet.dts + shift
        packet.pts = None if packet.pts is None else packet.pts + shift

    def _follow(self, stream: _Stream, seconds: Fraction, duration: Fraction) -> None:
        if self._breaks(stream, seconds):
            if stream.epoch == len(self._offsets) - 1:
                self._offsets.append(max(each.end for each in self._streams.values()) - seconds)
            stream.epoch = len(self._offsets) - 1
        stream.newest, stream.end = seconds, seconds + self._offsets[stream.epoch] + duration

    def _breaks(self, stream: _Stream, seconds: Fraction) -> bool:
        if stream.newest is None:
            return False
        # A pause of one stream is none of the file's.
        alike = (each.newest for each in self._streams.values() if each.epoch == stream.epoch)
        newest = max(each for each in alike if each is not None)
        return seconds < stream.newest - FALL or (self._may_leap and seconds > newest + LEAP)
