"""Watchdog of the device thread, on the event loop: tells when a job gets no answer."""

import asyncio
from collections import deque
from collections.abc import Callable

KEPT = 50  # jobs whose durations tell how long the next may take
ENOUGH = 20  # of them
PATIENCE = 20.0  # times the longest of them
LEAST_S = 30.0  # what no job has been measured at: a kernel compiled late, a text encoder on a slow CPU
HELD_S = 1.0  # so late a look says that this process, or its machine, stood still


class Watchdog:
    """Counts the jobs that the thread owes an answer. A thread that hangs owes one and tells nothing.

    It is given up after PATIENCE times the longest of its last jobs, LEAST_S at least and the seconds of the
    settings at most; before ENOUGH of these are known, after the seconds of the settings.

    watchdog.expect()        # a job was handed over
    watchdog.heard()         # the thread has told anything, a part of a chunk or an answer
    watchdog.answered()      # the oldest job has its answer
    """

    def __init__(self, seconds: float, on_silent: Callable[[], None]) -> None:
        """`on_silent` is called once, when an answer is owed and nothing was heard for `patience`, which is
        never more than `seconds`."""
        self._seconds = seconds
        self._on_silent = on_silent
        self._owed = 0
        self._heard_at = 0.0
        self._began_at = 0.0  # the oldest job that it owes an answer
        self._lasted: deque[float] = deque(maxlen=KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        self._owed += 1
        if self._owed == 1:
            self.heard()
            self._began_at = self._heard_at
            self._wait()

    def heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    def silence(self) -> float:
        """Seconds since the thread has told anything, while it owes an answer; else 0."""
        return asyncio.get_running_loop().time() - self._heard_at if self._owed else 0.0

    @property
    def patience(self) -> float:
        """Seconds of silence after which the thread is given up."""
        if len(self._lasted) < ENOUGH:
            return self._seconds
        return min(self._seconds, max(LEAST_S, PATIENCE * max(self._lasted)))

    def answered(self) -> None:
        now = asyncio.get_running_loop().time()
        self._lasted.append(now - self._began_at)
        self._began_at = now
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
        due = self._heard_at + self.patience
        self._timer = asyncio.get_running_loop().call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - due > HELD_S:  # nothing that the thread told could be heard: it has all its time again
            self.heard()
        # One timer for all that is heard meanwhile: a thread in good health tells a hundred things a second.
        if now < self._heard_at + self.patience:
            self._wait()
        else:
            self.stop()
            self._on_silent()
