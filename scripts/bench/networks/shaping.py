"""Model of one direction of a bad link: which packets come through, and when. Pure, with a seed.

The caller brings packet sizes and the clock. Delay comes after the queue, as on a long way behind a slow
line. It changes slowly, as queues elsewhere make it, and so never changes the order of packets; that is what
`late` is for.
"""

import random
from dataclasses import dataclass

JITTER_PERIOD_S = 0.25  # from one random delay to the next, in a straight line


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a link does to packets. The defaults: nothing.

    Raises ValueError for shares outside 0..1 and negative times, rates or sizes.
    """

    loss: float = 0.0  # share of packets, each by itself
    delay_s: float = 0.0
    jitter_s: float = 0.0  # the delay is at most so much shorter or longer
    late: float = 0.0  # share of packets that `late_s` are added to, so that others overtake them
    late_s: float = 0.0
    rate_bps: float | None = None  # None: no limit
    queue_bytes: int = 0  # that may wait for the rate; what comes then is lost

    def __post_init__(self) -> None:
        for name in ("loss", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)!r}")
        for name in ("delay_s", "late_s", "queue_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")
        if not 0 <= self.jitter_s <= self.delay_s:
            raise ValueError(f"jitter_s must be 0 to delay_s ({self.delay_s}), got {self.jitter_s!r}")
        if self.rate_bps is not None and self.rate_bps <= 0:
            raise ValueError(f"rate_bps must be above 0, got {self.rate_bps!r}")


CLEAN = Conditions()
OUTAGE = Conditions(loss=1.0)


class Shaper:
    """One direction. Change `conditions` at any time: what is under way already keeps its time."""

    def __init__(self, seed: str) -> None:
        self.conditions = CLEAN
        self.passed = self.lost = 0  # packets
        self._random = random.Random(seed)
        self._seed = seed
        self._free_at = 0.0  # when the line has sent all that it was given
        self._newest = 0.0  # when the last packet in order arrives

    def arrival(self, size: int, now: float) -> float | None:
        """When a packet of `size` bytes arrives that is sent `now` (s); None: it is lost."""
        link = self.conditions
        if self._random.random() < link.loss:
            return self._lose()
        departs = now
        if link.rate_bps is not None:
            waiting = max(0.0, self._free_at - now) * link.rate_bps / 8
            if waiting and waiting + size > link.queue_bytes:
                return self._lose()
            self._free_at = departs = max(now, self._free_at) + 8 * size / link.rate_bps
        self.passed += 1
        arrives = departs + link.delay_s
        if link.jitter_s:
            arrives += link.jitter_s * self._wavering(departs)
        if self._random.random() < link.late:
            return arrives + link.late_s
        self._newest = max(self._newest, arrives)
        return self._newest

    def _lose(self) -> None:
        self.lost += 1

    def _wavering(self, at: float) -> float:
        """-1..1, the same for the same seed and time."""
        period, share = divmod(at / JITTER_PERIOD_S, 1)
        before, after = (random.Random(f"{self._seed} {int(period) + n}").uniform(-1, 1) for n in (0, 1))
        return before + (after - before) * share
