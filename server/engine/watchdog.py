"""Watchdog of the device thread, on the event loop: tells when a job gets no answer."""

import asyncio
from collections.abc import Callable


class Watchdog:
    """Counts the jobs that the thread owes an answer. A thread that hangs owes one and tells nothing.

    watchdog.expect()        # a job was handed over
    watchdog.heard()         # the thread has told anything, a part of a chunk or an answer
    watchdog.answered()      # the oldest job has its answer
    """

    def __init__(self, seconds: float, on_silent: Callable[[], None]) -> None:
        """`on_silent` is called once, when an answer is owed and nothing was heard for `seconds`."""
        self._seconds = seconds
        self._on_silent = on_silent
        self._owed = 0
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        self._owed += 1
        if self._owed == 1:
            self.heard()
            self._wait()

    def heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    def silence(self) -> float:
        """Seconds since the thread has told anything, while it owes an answer; else 0."""
        return asyncio.get_running_loop().time() - self._heard_at if self._owed else 0.0

    def answered(self) -> None:
        self._owed -= 1
        if not self._owed:
            self.stop()

    def stop(self) -> None:
        """Nothing more is expected."""
        self._owed = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._heard_at + self._seconds, self._look)

    def _look(self) -> None:
        # One timer for all that is heard meanwhile: a thread in good health tells a hundred things a second.
        if asyncio.get_running_loop().time() < self._heard_at + self._seconds:
            self._wait()
        else:
            self.stop()
            self._on_silent()
