"""Schedule of generated pictures: when each goes out, with which timestamp. Pure: the caller has the clock.

Pictures are made in chunks but must leave one by one: a browser shown a burst freezes. The pacer spreads a
chunk over the time until the next one should arrive, so that playback neither runs dry nor falls behind. That
is first the time that the chunk was filmed in; who makes the next one then tells more, again and again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from server.media.margin import BEGINNING, PacingMargin

T = TypeVar("T")

CLOCK_RATE_HZ = 90_000  # of RTP video
LATE_LIMIT_S = 0.1  # beyond this the timeline moves instead of catching up
FASTEST = 0.5  # of the spacing at which pictures were seen: a backlog is played at most twice as fast


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

    def last_due(self, spacing: float, now: float) -> float | None:
        """When the last frame was due; None: there was none, or the next one is too late for its place."""
        is_lost = self._due is None or now - (self._due + spacing) > LATE_LIMIT_S
        return None if is_lost else self._due

    def tick(self, spacing: float, now: float) -> int:
        """A frame goes out now: returns its pts in 1/90000 s, always larger than the one before."""
        last = self.last_due(spacing, now)
        due = now if last is None else last + spacing
        if self._due is not None:
            self._media_s += due - self._due
        self._due, self._sent = due, now
        self._pts = max(self._pts + 1, round(self._media_s * CLOCK_RATE_HZ))
        return self._pts


class Pacer(Generic[T]):
    """Plays chunks of pictures. Holds the one playing and at most one more.

    pacer.push(pictures, span, now)          # whenever a chunk has been made, or its first pictures
    pacer.expect(until, now)                 # whenever it is clearer when the next one will be there
    while (due := pacer.due()) is not None:  # None: nothing to play
        ...wait until due...
        picture, pts = pacer.pop(now)
    """

    def __init__(self, clock: MediaClock, on_change: Callable[[], None] | None = None) -> None:
        """`on_change` is called whenever `due` may have changed other than by `pop`."""
        self._clock = clock
        self._on_change = on_change
        self._chunks: deque[deque[T]] = deque()
        self._arrived: float | None = None
        self._expected: float | None = None
        self._margin = PacingMargin()
        self._is_cleared = False  # of the newest chunk's pictures: what follows was not due
        self._nominal = 0.0  # seconds between pictures of the newest chunk, as they were seen
        self.interval = 0.0  # seconds between the last two chunks; 0 before the second
        self.spacing = 0.0  # seconds between the frames played now, which are to last until the next chunk is
        self.margin = 0.0  # expected and so many seconds more
        self.dropped = 0  # pictures that had to give way to newer ones

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def push(
        self,
        pictures: Sequence[T],
        span: float,
        now: float,
        of: int | None = None,
        number: int = BEGINNING,
    ) -> None:
        """Queue a chunk made of `span` > 0 seconds of camera time. The oldest chunk gives way to a third.

        If only the first of `of` pictures are given, pass the rest to `extend`. `number` >= 0 is the chunk's
        since its stream's last reset.
        """
        count = len(pictures) if of is None else of
        while len(self._chunks) > 1:
            self.dropped += len(self._chunks.popleft())
        self._chunks.append(deque(pictures))
        if self._arrived is not None:
            self.interval = now - self._arrived
        if self._expected is not None:
            self._margin.chunk(now - self._expected, span, number)
        self._arrived, self._expected, self._is_cleared = now, None, False
        self._nominal = span / count
        self._last_until(now + span, len(self) - len(pictures) + count, now)
        self._has_changed()

    def extend(self, pictures: Sequence[T], now: float) -> None:
        """Queue more pictures of the chunk that was pushed last."""
        due = self._clock.due(self.spacing)
        if due is not None and not self._is_cleared:
            if self._chunks:  # one of these goes first, at once if the time for it is over
                due = max(due, now) + len(self) * self.spacing
            self._margin.piece(now - (due - self.margin))
        if self._chunks:
            self._chunks[-1].extend(pictures)
        else:
            self._chunks.append(deque(pictures))
        self._has_changed()

    def expect(self, until: float, now: float) -> None:
        """The next chunk is expected at `until`: what waits is to last so long, and not much longer. A motion
        that slows down is better than one that stops. Ignored if `until` has passed."""
        if until <= now:
            return
        self._expected = until
        if self._chunks:
            self._last_until(until, len(self), now)
        self._has_changed()

    def _last_until(self, until: float, count: int, now: float) -> None:
        """Space so many pictures that the one after them is due at `until`, and a margin for chunks that are
        late."""
        self.margin = self._margin.seconds
        until += self.margin
        last = self._clock.last_due(self._nominal, now)
        spacing = (until - now) / count if last is None else (until - last) / (count + 1)
        self.spacing = max(spacing, FASTEST * self._nominal)

    def clear(self) -> int:
        """Drop what waits, as it belongs to a generation that is over; returns how many pictures it was."""
        count = len(self)
        self._chunks.clear()
        self._is_cleared = True
        self._has_changed()
        return count

    def restart(self) -> None:
        """Playback paused for a reason of its own: do not take the pause for the pace of the chunks."""
        self._arrived = self._expected = None

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

    def _has_changed(self) -> None:
        if self._on_change is not None:
            self._on_change()
