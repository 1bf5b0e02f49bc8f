"""Figures of a stream of pictures: how evenly they come, and when they are as usual again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_S = 0.5  # longer, and nobody takes it for motion
WINDOW_S = 1.0  # of pictures as usual, before they count as that
LEAST_SHARE = 0.8  # of the usual rate
LEAST_GAP_S = 0.25  # shorter ones are never unusual


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuity:
    """How pictures came within a time. Its edges count: what did not come by its end makes a gap."""

    fps: float
    longest_gap_s: float
    gaps: int  # of more than GAP_S


def continuity(times: Sequence[float], begin: float, end: float) -> Continuity:
    """Of rising `times` (s) between `begin` and `end`."""
    within = [time for time in times if begin <= time <= end]
    gaps = [later - earlier for earlier, later in pairwise([begin, *within, end])]
    return Continuity(
        fps=len(within) / (end - begin), longest_gap_s=max(gaps), gaps=sum(gap > GAP_S for gap in gaps)
    )


def usual_again(times: Sequence[float], since: float, until: float, usual: Continuity) -> float | None:
    """Seconds from `since` to the first WINDOW_S of rising `times` (s) that is as `usual`; None: never.

    It begins with a picture, or at `since`, and so does what is shown from then on.
    """
    longest = max(LEAST_GAP_S, usual.longest_gap_s)
    for begin in (since, *(time for time in times if time > since)):
        if begin + WINDOW_S > until:
            return None
        found = continuity(times, begin, begin + WINDOW_S)
        if found.fps >= LEAST_SHARE * usual.fps and found.longest_gap_s <= longest:
            return begin - since
    return None
