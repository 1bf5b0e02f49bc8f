"""Timelines of prompts and of a guidance strength: what changes by itself as time passes. Pure.

Both are values with a beginning on the caller's clock, which stands still while the stream is paused.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.protocol.requests import GuidanceKey, TimelineStep


@dataclass(frozen=True, slots=True)
class Timeline:
    """Prompts by time.

    while (due := timeline.due(now)) is not None:
        step, timeline = due        # the newest step whose time has come; the new timeline knows that it has
    """

    steps: tuple[TimelineStep, ...]  # `at` rises from 0
    began: float
    loop: bool = False
    duration: float | None = None  # of one round; more than the last `at`, and not None for a loop
    begun: int = 0  # steps begun or passed over so far, those of earlier rounds included

    def position(self, now: float) -> float:
        """Seconds since the round at `now` began; without a loop it goes on after the last step."""
        elapsed = max(0.0, now - self.began)
        return elapsed % self.duration if self.loop and self.duration else elapsed

    def step(self, now: float) -> int:
        """Index of the step in effect at `now`."""
        return bisect_right(self.steps, self.position(now), key=lambda step: step.at) - 1

    def until_next(self, now: float) -> float | None:
        """Seconds until the next step, above 0; None when there is none."""
        position, index = self.position(now), self.step(now) + 1
        if index < len(self.steps):
            return self.steps[index].at - position
        return self.duration - position if self.loop and self.duration else None

    @property
    def coming(self) -> TimelineStep | None:
        """The step after those begun; None when there is none."""
        is_over = self.begun >= len(self.steps) and not self.loop
        return None if is_over else self.steps[self.begun % len(self.steps)]

    def due(self, now: float) -> "tuple[TimelineStep, Timeline] | None":
        """The step to begin at `now`, if its time has come since the last one; of several the latest."""
        rounds = int(max(0.0, now - self.began) // self.duration) if self.loop and self.duration else 0
        index = self.step(now)
        number = rounds * len(self.steps) + index + 1
        return (self.steps[index], replace(self, begun=number)) if number > self.begun else None


@dataclass(frozen=True, slots=True)
class GuidanceTrack:
    """A strength that moves in straight lines from key to key; the last one holds, or it begins again."""

    keys: tuple[GuidanceKey, ...]  # `at` rises
    began: float
    loop: bool = False  # then the last `at` is above 0

    def moves(self, now: float) -> bool:
        """Whether the strength will be another one after `now`."""
        return self.loop or now - self.began < self.keys[-1].at

    def scale(self, now: float) -> float:
        """The strength at `now`, 0 to 2."""
        elapsed, length = max(0.0, now - self.began), self.keys[-1].at
        return _between(self.keys, elapsed % length if self.loop and length else elapsed)


def _between(keys: Sequence[GuidanceKey], at: float) -> float:
    after = bisect_right(keys, at, key=lambda key: key.at)
    if after == 0:
        return keys[0].scale
    if after == len(keys):
        return keys[-1].scale
    left, right = keys[after - 1], keys[after]
    return left.scale + (right.scale - left.scale) * (at - left.at) / (right.at - left.at)


class PausableClock:
    """The caller's clock without the pauses."""

    def __init__(self) -> None:
        self._paused_at: float | None = None
        self._paused_for = 0.0

    def pause(self, now: float) -> None:
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        if self._paused_at is not None:
            self._paused_for += now - self._paused_at
            self._paused_at = None

    def time(self, now: float) -> float:
        """Seconds that stand still while paused."""
        return (now if self._paused_at is None else self._paused_at) - self._paused_for
