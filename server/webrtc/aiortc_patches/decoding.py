"""Decoding of a received video: bounded, of pictures whose size is known, and never waited for on the loop.

aiortc hands coded frames to a thread through a queue without a bound, decodes whatever size they claim, and
joins that thread on the event loop (`stop`, a BYE, a lost connection), behind all that waits. So what stands
where aiortc keeps the queue is ours: its thread, asking for the first frame, decodes here until the end, and
is then told None, which is all that aiortc's own decoding ever sees. `test_decoding.py` fails if aiortc keeps
or uses queue and thread in another way.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from aiortc import RTCRtpReceiver

from server.media.coded_size import SizeRejected
from server.media.images import ImageRejected
from server.media.rtp_decoder import CODECS, RtpDecoder, is_entry

# Coded pictures. What waited behind a lost packet comes at once, at 60 a second for up to `GIVE_UP_S` and a
# look; a decoder that is further behind starts anew.
MAX_WAITING = 32
_QUEUE = "_RTCRtpReceiver__decoder_queue"  # aiortc has no public places for these
_THREAD = "_RTCRtpReceiver__decoder_thread"


class _Codec(Protocol):
    name: str


class _CodedFrame(Protocol):
    """A JitterFrame of our buffer, with those that became whole together with it."""

    data: bytes
    rtp_timestamp: int
    followers: "list[Any]"


class _Picture(NamedTuple):
    codec: str
    data: bytes
    pts: int
    follows_gap: bool


class Decoding:
    """What aiortc uses of the queue to a receiver's decoder thread, and that thread's work.

    decoding = Decoding(receiver, rejected=..., dropped=...)   # before the receiver is started
    await decoding.close()                                      # once it is stopped
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        rejected: Callable[[SizeRejected], None],
        dropped: Callable[[int], None],
    ) -> None:
        """`rejected` is told of each picture of a size that is not taken, `dropped` how many gave way.

        Raises AttributeError where aiortc keeps its queue or thread elsewhere.
        """
        self.wants_entry = False  # the sender is to be asked for a key frame, until one has come
        self._receiver: Any = receiver
        self._rejected, self._dropped = rejected, dropped
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._waiting: deque[_Picture] = deque()
        self._is_over = False
        self._last: int | None = None  # RTP timestamp
        self._pts = 0
        self._thread: threading.Thread | None = None
        for place in (_QUEUE, _THREAD):
            getattr(receiver, place)
        setattr(receiver, _QUEUE, self)
        self._receive = receiver.receive
        self._receiver.receive = self._start

    async def close(self) -> None:
        """Wait for the thread, if there was one, and let go of what it has decoded for nobody.

        The receiver must be stopped, and its track read no more.
        """
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if (track := self._receiver.track) is not None:
            while not track._queue.empty():
                track._queue.get_nowait()

    async def _start(self, parameters: Any) -> None:
        await self._receive(parameters)
        if self._thread is None:
            self._thread = getattr(self._receiver, _THREAD)
            setattr(self._receiver, _THREAD, _NotJoined())

    # As queue.Queue. On the loop:

    def put(self, task: "tuple[_Codec, _CodedFrame] | None") -> None:
        """A frame to decode; None: there will be no more, and what waits is of no use."""
        with self._changed:
            if task is None:
                self._is_over = True
                self._waiting.clear()
            elif not self._is_over:
                codec, frame = task
                for one in (frame, *frame.followers):
                    self._add(codec.name, one.data, self._pts_of(one.rtp_timestamp))
            self._changed.notify()

    # In the thread:

    def get(self) -> None:
        """Decode all that comes. None, which ends aiortc's thread and the track, once there is no more."""
        decoder, skips = RtpDecoder(), False
        while (picture := self._next()) is not None:
            codec, data, pts, follows_gap = picture
            if is_entry(codec, data):
                skips = self.wants_entry = False
            elif follows_gap:
                skips = self.wants_entry = True
            if skips:  # it builds on what was not decoded
                self._call(self._dropped, 1)
                continue
            try:
                for frame in decoder.decode(codec, data, pts):
                    self._call(self._receiver.track._queue.put_nowait, frame)
            except SizeRejected as error:  # another key frame would be as large
                skips = True
                self._call(self._rejected, error)
            except ImageRejected:
                self.wants_entry = True

    def _next(self) -> _Picture | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            return None if self._is_over else self._waiting.popleft()

    def _call(self, function: Callable[[Any], object], value: object) -> None:
        self._loop.call_soon_threadsafe(function, value)

    # On the loop again:

    def _add(self, codec: str, data: bytes, pts: int) -> None:
        if codec not in CODECS:
            return
        is_full = len(self._waiting) >= MAX_WAITING
        if is_full:
            self._dropped(len(self._waiting))
            self._waiting.clear()
        self._waiting.append(_Picture(codec, data, pts, follows_gap=is_full))

    def _pts_of(self, rtp_timestamp: int) -> int:
        """Counted from the first one's, through wraps of the 32 bits."""
        step = 0 if self._last is None else (rtp_timestamp - self._last + (1 << 31)) % (1 << 32) - (1 << 31)
        self._last = rtp_timestamp
        self._pts += step
        return self._pts


def is_sent_to(receiver: RTCRtpReceiver) -> bool:
    """Whether the other side has offered to send something to it."""
    track: Any = receiver.track  # None before; aiortc's type does not say so
    return track is not None


class _NotJoined:
    """Where aiortc keeps its thread: `Decoding.close` waits for that one, in a thread of the pool."""

    def join(self) -> None:
        pass
