"""Latency figures from the pictures that came back. Pure: times go in, numbers come out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FREEZE_FACTOR = 3.0  # a gap is a freeze when it is this many usual gaps long ...
FREEZE_LEAST_S = 0.2  # ... and long enough to be seen

# Mean luma difference (of 255) below which a picture is the camera's own and not the model's: video coding
# alone changes a picture by less than about 6.
CAMERA_PICTURE_BELOW = 12.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One picture that came back. Times are seconds on one clock."""

    time: float  # when the decoded picture was in hand
    sent: float | None  # when the camera frame whose number it carries was handed over; None: no number in it
    difference: float | None  # mean luma difference to that camera frame, 0..255; None: not compared
    is_live: bool  # the server's last `state` message said so

    @property
    def is_generated(self) -> bool:
        """Live by the server's word and, where compared, not the camera's picture handed through."""
        if not self.is_live or self.sent is None:
            return False
        return self.difference is None or self.difference >= CAMERA_PICTURE_BELOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Latencies in milliseconds; None where there was nothing to measure."""

    first_generated_ms: float | None  # from the offer to the first generated picture
    glass_to_glass_p50_ms: float | None
    glass_to_glass_p95_ms: float | None
    glass_to_glass_max_ms: float | None
    slope_ms_per_minute: float | None  # of latency over the run: above zero, a queue grows somewhere
    fps: float | None  # generated pictures received per second
    freezes: int
    longest_gap_ms: float | None
    generated: int  # pictures counted above
    passed_through: int  # the camera's own picture: before the model was live, or while it waited
    unreadable: int  # live by the server's word, but the number was damaged or missing: not counted above
    difference_p50: float | None  # how far a generated picture is from its camera frame, luma levels of 255


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` (0..1) of all values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def freezes(times: Sequence[float]) -> list[float]:
    """Gaps (s) between successive `times` that a viewer sees as a freeze."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return []
    least = max(FREEZE_LEAST_S, FREEZE_FACTOR * statistics.median(gaps))
    return [gap for gap in gaps if gap > least]


def bitrate(messages: Sequence[tuple[float, int]], first: float, last: float) -> float | None:
    """Kilobits per second of messages (s, bytes) from `first` to `last` (s). None without any."""
    total = sum(size for time, size in messages if first < time <= last)
    return 8 * total / (1000 * (last - first)) if total else None


def slope(at: Sequence[float], values: Sequence[float]) -> float | None:
    """By how much `values` rise per unit of `at`: by least squares. None without two different times."""
    if len(set(at)) < 2:
        return None
    return statistics.linear_regression(at, values).slope


def medians_over_time(arrivals: Sequence[Arrival], period_s: float) -> list[float]:
    """Median latency (ms) of the generated pictures of each period that has any, in order: whether a slope is
    a climb or one step."""
    generated = [arrival for arrival in arrivals if arrival.is_generated]
    parts: dict[int, list[float]] = {}
    for arrival in generated:
        if arrival.sent is not None:
            part = int((arrival.time - generated[0].time) / period_s)
            parts.setdefault(part, []).append(1000 * (arrival.time - arrival.sent))
    return [statistics.median(parts[part]) for part in sorted(parts)]


def summarise(arrivals: Sequence[Arrival], offered: float) -> Figures:
    """Figures of one run; `offered` is when the offer was sent, on the clock of the arrivals."""
    generated = [arrival for arrival in arrivals if arrival.is_generated]
    times = [arrival.time for arrival in generated]
    latencies = [1000 * (arrival.time - arrival.sent) for arrival in generated if arrival.sent is not None]
    gaps = [1000 * (later - earlier) for earlier, later in pairwise(times)]
    differences = [arrival.difference for arrival in generated if arrival.difference is not None]
    unreadable = sum(arrival.is_live and arrival.sent is None for arrival in arrivals)
    return Figures(
        first_generated_ms=1000 * (times[0] - offered) if times else None,
        glass_to_glass_p50_ms=percentile(latencies, 0.5) if latencies else None,
        glass_to_glass_p95_ms=percentile(latencies, 0.95) if latencies else None,
        glass_to_glass_max_ms=max(latencies, default=None),
        slope_ms_per_minute=slope([time / 60 for time in times], latencies),
        fps=(len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None,
        freezes=len(freezes(times)),
        longest_gap_ms=max(gaps, default=None),
        generated=len(generated),
        passed_through=len(arrivals) - len(generated) - unreadable,
        unreadable=unreadable,
        difference_p50=percentile(differences, 0.5) if differences else None,
    )
