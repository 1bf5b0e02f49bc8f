"""Sound of a peer as it comes, coded: nothing is decoded here, and no thread waits for it.

aiortc decodes what it receives in a thread, behind a queue without a bound that it joins on the event loop,
after four packets have come behind each. Sound waits for its pictures anyway, so it is kept coded, and what
stands where aiortc keeps its jitter buffer hands each packet on at once; its thread is told at its first
question that there is no more. `test_coded_sound.py` fails if aiortc keeps or uses them in another way.
"""

from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket

_BUFFER = "_RTCRtpReceiver__jitter_buffer"  # aiortc has no public places for these
_QUEUE = "_RTCRtpReceiver__decoder_queue"


def take_coded_sound(receiver: RTCRtpReceiver, take: Callable[[int, bytes], None]) -> None:
    """Before an audio `receiver` is started: `take` is given each packet's RTP timestamp and payload.

    Raises AttributeError where aiortc keeps its buffer or queue elsewhere.
    """
    for place, stand_in in ((_BUFFER, _HandsOn(take)), (_QUEUE, _Nothing())):
        getattr(receiver, place)
        setattr(receiver, place, stand_in)


class _HandsOn:
    """As aiortc's JitterBuffer."""

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        payload: Any = packet.payload
        self._take(packet.timestamp, bytes(payload))
        return False, None


class _Nothing:
    """As queue.Queue, with nothing to decode."""

    def get(self) -> None:
        return None

    def put(self, task: object) -> None:
        pass
