"""Age of the pictures on show: how long ago the camera took what is seen now. Pure: no clock of its own."""

from collections import deque
from statistics import median

WINDOW = 16  # pictures whose median is the age: single ones come late or early
CHANGED = 3  # pictures, one after another, that are of quite another age: that one is taken at once
OTHER_S = 0.12
SILENT_S = 1.0  # without a picture: there is no age


class PictureAge:
    """age.shown(captured, now) with each picture; age.seconds(now) at any time."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._shown_at = 0.0

    def shown(self, captured: float, now: float) -> None:
        """A picture goes out at `now` whose camera frame was taken at `captured`, both in seconds."""
        if self.seconds(now) is None:
            self._ages.clear()
        self._ages.append(now - captured)
        self._shown_at = now
        newest = list(self._ages)[-CHANGED:]
        middle = median(self._ages)
        if len(newest) == CHANGED and all(abs(age - middle) > OTHER_S for age in newest):
            self._ages.clear()
            self._ages.extend(newest)

    def seconds(self, now: float) -> float | None:
        """The age; None while no pictures go out, as in a pause."""
        if not self._ages or now - self._shown_at > SILENT_S:
            return None
        return median(self._ages)
