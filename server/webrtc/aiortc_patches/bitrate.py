"""Bitrate of one sender: coarse steps below what the receiver says it can take, and seldom a new one."""

from bisect import bisect_left, bisect_right
from collections import deque
from typing import Protocol

from aiortc import RTCRtpSender
from aiortc.codecs import h264

from server.media.bitrate import CEILINGS_BPS
from server.protocol.requests import Quality

# Far enough apart to be worth a new encoder, near enough for Chromium, which never estimates more than 1.5
# times what it gets.
RUNGS_BPS = tuple(1000 * kbps for kbps in (250, 300, 380, 500, 650, 800, 1000, 1300, 1650, 2100, 2600))
HEADROOM = 1.13  # what the receiver must be able to take beyond a rung before that is climbed
REST_S = 2.0  # between two changes: each opens a new encoder, and costs a key frame
RISE_AFTER_S = 4.0  # since the last change: a link that has just failed needs time

# aiortc's H.264 gives each picture the share of one of 30 in a second. More pictures make as many more bits:
# less is asked for then, as for one of these rates. Fewer make fewer, which is no harm.
RATES_FPS = (h264.MAX_FRAME_RATE, 45, 60, 90, 120)
SLACK = 1.1  # times a rate, up to which it is taken for that one
RATE_OVER_S = 2.0

# aiortc asks no less of H.264 than 500 kbit/s: on a line that carries that and no more, pictures stand still.
h264.MIN_BITRATE = RUNGS_BPS[0] * RATES_FPS[0] // RATES_FPS[-1]


class BitrateLadder:
    """Chooses the rung. Pure: the caller brings estimates and the clock.

    Down when the estimate is below the rung, up when it leaves headroom above a higher one: in between, where
    an estimate wavers, nothing changes. Between two changes lie at least REST_S.
    """

    def __init__(self, start: int, now: float) -> None:
        """`start`: what the encoder begins with, in bits per second."""
        self.bps = _at_most(start)
        self._changed_at = now

    def climb(self, estimate: int, ceiling: int, now: float) -> int:
        """The bitrate from now on, for a receiver that can take `estimate`, and at most `ceiling`."""
        rested = now - self._changed_at
        lower = _at_most(min(estimate, ceiling))
        higher = _at_most(min(estimate / HEADROOM, ceiling))
        if lower < self.bps and rested >= REST_S:
            self._change(lower, now)
        elif higher > self.bps and rested >= RISE_AFTER_S:
            self._change(higher, now)
        return self.bps

    def may_reopen(self, now: float) -> bool:
        """Whether the encoder may be opened anew for another reason. If so, that is a change like those."""
        if now - self._changed_at < REST_S:
            return False
        self._changed_at = now
        return True

    def _change(self, bps: int, now: float) -> None:
        self.bps = bps
        self._changed_at = now


class PictureRate:
    """How many pictures a second are coded, as one of RATES_FPS. Pure."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def note(self, now: float) -> int:
        """One is coded now; returns the rate of the last RATE_OVER_S."""
        self._times.append(now)
        while now - self._times[0] > RATE_OVER_S:
            self._times.popleft()
        fps = (len(self._times) - 1) / RATE_OVER_S
        return RATES_FPS[min(bisect_left(RATES_FPS, fps / SLACK), len(RATES_FPS) - 1)]


class _Encoder(Protocol):
    target_bitrate: int


class BitrateControl:
    """Holds a sender's encoder on the ladder. Call `hold` before each frame.

    aiortc lets the receiver's estimate alone decide, has no public way to lower it, and opens a new encoder
    for each change beyond a tenth: so the estimate must be replaced before a frame meets it.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender
        self._ladder: BitrateLadder | None = None
        self._estimate = 0  # the receiver's, or the encoder's first guess
        self._set = 0  # by us, as the encoder understood it
        self._rate = PictureRate()
        self._reckoned_fps = RATES_FPS[0]

    def hold(self, quality: Quality, now: float) -> None:
        """Make the rung for `quality` and the receiver's estimate the encoder's target."""
        encoder: _Encoder | None = getattr(self._sender, "_RTCRtpSender__encoder", None)
        if encoder is None:  # there is none before the first frame
            return
        if encoder.target_bitrate != self._set:
            self._estimate = encoder.target_bitrate
        if self._ladder is None:
            self._ladder = BitrateLadder(self._estimate, now)
        bps = self._ladder.climb(self._estimate, CEILINGS_BPS[quality], now)
        if isinstance(encoder, h264.H264Encoder):
            bps = self._share(bps, now)
        # One bit more than the rung, so that an estimate of just the rung is seen to be one.
        encoder.target_bitrate = bps + 1
        self._set = encoder.target_bitrate

    def _share(self, bps: int, now: float) -> int:
        """What to ask of H.264 for so many bits a second, of as many pictures as are coded."""
        assert self._ladder is not None
        fps = self._rate.note(now)
        if fps != self._reckoned_fps and self._ladder.may_reopen(now):
            self._reckoned_fps = fps
        return bps * RATES_FPS[0] // self._reckoned_fps


def _at_most(bps: float) -> int:
    """The highest rung that is not above; the lowest for what is below all."""
    return RUNGS_BPS[max(0, bisect_right(RUNGS_BPS, bps) - 1)]
