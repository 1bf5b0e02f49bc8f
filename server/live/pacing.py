"""When a generated picture goes out, and with which timestamp. Pure: the caller brings the clock.

Pictures are made in chunks but must leave one by one: a browser shown a burst freezes. The pacer spreads a
chunk over the time until the next one should arrive, so that playback neither runs dry nor falls behind.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

CLOCK_RATE_HZ = 90_000  # of RTP video
LATE_LIMIT_S = 0.1  # beyond this the timeline moves instead of catching up
FASTEST = (
    0.5  # limits of the spacing, in units of the nominal one: a backlog is played at most twice as fast,
)
SLOWEST = 1.25  # and a motion shown at most a quarter slower than it was seen
SMOOTHING = 0.25  # weight of the newest interval between chunks
LONGEST_INTERVAL_S = 4.0  # what takes longer was a pause, not a pace


class MediaClock:
    """The timeline of one track: pts from accumulated media time, tied to the caller's clock at each frame.

    Frames are due one spacing apart. A late frame keeps its place on the timeline and the next ones catch up,
    never closer than half a spacing; one that is more than LATE_LIMIT_S late moves the timeline to now, pts
    included: a receiver takes a lasting mismatch of pts and arrival for jitter, and buffers against it.
    """

    def __init__(self) -> None:
        self._media_s = 0.0
        self._due: float | None = None  # when the last frame was due, and
        self._sent = 0.0  # when it went out
        self._pts = -1

    def due(self, spacing: float) -> float | None:
        """When a frame may go out that follows the last one by `spacing`; None: at once, it is the first."""
        if self._due is None:
            return None
        return max(self._due + spacing, self._sent + spacing / 2)

    def anchor(self, spacing: float, now: float) -> float:
        """The place of the last frame on the timeline, moved up if the next one will be too late for it."""
        if self._due is None or now - (self._due + spacing) > LATE_LIMIT_S:
            return now - spacing
        return self._due

    def tick(self, spacing: float, now: float) -> int:
        """A frame goes out now: returns its pts in 1/90000 s, always larger than the one before."""
        if self._due is not None:
            anchor = self.anchor(spacing, now)
            self._media_s += anchor + spacing - self._due
            self._due = anchor + spacing
        else:
            self._due = now
        self._sent = now
        self._pts = max(self._pts + 1, round(self._media_s * CLOCK_RATE_HZ))
        return self._pts


class Pacer(Generic[T]):
    """Plays chunks of pictures. Holds the one playing and at most one more.

    pacer.push(pictures, span, now)          # whenever a chunk has been made, or its first pictures
    while (due := pacer.due()) is not None:  # None: nothing to play
        ...wait until due...
        picture, pts = pacer.pop(now)
    """

    def __init__(self, clock: MediaClock) -> None:
        self._clock = clock
        self._chunks: deque[deque[T]] = deque()
        self._arrived: float | None = None
        self._arrivals = 0
        self._interval = 0.0
        self._jitter = 0.0
        self.spacing = 0.0  # seconds between the frames played now
        self.dropped = 0  # pictures that had to give way to newer ones

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    @property
    def interval(self) -> float:
        """Seconds from one chunk to the next, smoothed; 0 before the first."""
        return self._interval

    def push(self, pictures: Sequence[T], span: float, now: float, of: int | None = None) -> None:
        """Queue a chunk made of `span` > 0 seconds of camera time. The oldest chunk gives way to a third.

        Are these the first pictures `of` more, the others are to follow with `extend`.
        """
        count = len(pictures) if of is None else of
        while len(self._chunks) > 1:
            self.dropped += len(self._chunks.popleft())
        self._chunks.append(deque(pictures))
        expected = self._expected_interval(span, now)
        nominal = expected / count
        # The frame after the last one queued is to be due when the next chunk comes, and a margin for jitter.
        margin = min(2 * self._jitter, expected / 4)
        start = self._clock.anchor(nominal, now)
        spacing = (now + expected + margin - start) / (len(self) - len(pictures) + count + 1)
        self.spacing = min(max(spacing, FASTEST * nominal), SLOWEST * nominal)

    def extend(self, pictures: Sequence[T]) -> None:
        """Queue more pictures of the chunk that was pushed last."""
        if self._chunks:
            self._chunks[-1].extend(pictures)
        else:
            self._chunks.append(deque(pictures))

    def clear(self) -> int:
        """Drop what waits, as it belongs to a generation that is over; returns how many pictures it was."""
        count = len(self)
        self._chunks.clear()
        return count

    def restart(self) -> None:
        """Playback paused for a reason of its own: do not take the pause for the pace of the chunks."""
        self._arrived = None
        self._arrivals = 0
        self._jitter = 0.0

    def due(self) -> float | None:
        """When the next picture may go out (in the past: now); None when there is nothing to play."""
        if not self._chunks:
            return None
        due = self._clock.due(self.spacing)
        return float("-inf") if due is None else due

    def pop(self, now: float) -> tuple[T, int]:
        """The next picture and its pts. Call it at or after `due()`; raises IndexError when there is none."""
        picture = self._chunks[0].popleft()
        if not self._chunks[0]:
            self._chunks.popleft()
        return picture, self._clock.tick(self.spacing, now)

    def _expected_interval(self, span: float, now: float) -> float:
        """Seconds until the next chunk: mean of this one's camera span and the smoothed interval of arrivals.

        Each alone is the truth in its own case (a slow camera, a slow model) and lags in the other. A single
        outlier, such as a paused camera, can at most double or halve the estimate.
        """
        if self._arrived is None:
            self._interval = min(span, LONGEST_INTERVAL_S)
        elif self._arrivals == 1:
            self._interval = min(now - self._arrived, LONGEST_INTERVAL_S)
        else:
            interval = _within_factor_two(now - self._arrived, self._interval)
            self._jitter += SMOOTHING * (abs(interval - self._interval) - self._jitter)
            self._interval += SMOOTHING * (interval - self._interval)
        self._arrived = now
        self._arrivals += 1
        self._interval = max(self._interval, 1e-3)
        return (_within_factor_two(span, self._interval) + self._interval) / 2


def _within_factor_two(value: float, reference: float) -> float:
    return min(max(value, reference / 2), reference * 2)
