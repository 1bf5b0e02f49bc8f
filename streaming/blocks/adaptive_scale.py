"""Strength of guidance that follows the scene: stronger while depth moves, weaker while it is still.

A still scene leaves the model room to paint; a moving one holds it to the shape, where it would lag behind.
"""

from dataclasses import dataclass

from streaming.api import MAX_SCALE

# Of depth in [-1, 1] per frame: someone who talks before the camera (carphone, median).
_TYPICAL_MOTION = 0.015
_REACH = 0.5  # fully adaptive, the scale goes from half of what was set to one and a half times it
_FOLLOW = 0.5  # of the way to the newest chunk's motion: no jump between chunks, most of it within two


@dataclass(frozen=True, slots=True)
class AdaptiveScale:
    """The motion of a stream's depth, averaged: a value, which a failed chunk leaves alone."""

    level: float = 0.0  # -1 still ... 0 as usual ... 1 wild

    def follow(self, motion: float) -> "AdaptiveScale":
        """`motion`: mean change of depth a frame, 0 ... 2, over the chunk that is about to be generated."""
        now = (motion - _TYPICAL_MOTION) / (motion + _TYPICAL_MOTION)
        return AdaptiveScale(self.level + _FOLLOW * (now - self.level))

    def applied(self, scale: float, adaptive: float) -> float:
        """The scale to guide with, 0 ... 2. `adaptive` 0 gives `scale` itself."""
        return min(MAX_SCALE, scale * (1 + adaptive * _REACH * self.level))
