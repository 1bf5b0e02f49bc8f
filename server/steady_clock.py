"""Steady clock: the time of day that does not jump when the system's clock is set."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """A clock that begins with the system's time of now, in seconds since 1970, and then only goes on."""
    began = time.time() - time.monotonic()
    return lambda: began + time.monotonic()
