"""An event loop whose clock jumps to the next timer when nothing is left to do: for tests of what time does.

    @pytest.mark.virtual_time
    async def test_...():
        await asyncio.sleep(3600)  # at once, and no sooner than everything else that is due by then

However slow or busy the machine, times are exact. Threads take no time on this clock unless they `sleep`
here: while one is at work the clock stands still. The loop knows of executors' work and of what it is told
(`busy`, `idle`, `ThreadOfJobs`). A thread that waits at a `Gate` is not at work.
"""

import asyncio
import functools
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

HELD_LIMIT_S = 120.0  # longer than any test waits: a thread that goes on by itself would break it

_current: "VirtualTimeLoop | None" = None  # one test runs at a time


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Also knows how many pieces of work other threads have in hand."""

    def __init__(self) -> None:
        global _current
        self._now = 1000.0
        self._at_work = 0
        self._lock = threading.Lock()
        super().__init__(_Selector(self))
        _current = self

    def time(self) -> float:
        return self._now

    def close(self) -> None:
        global _current
        if _current is self:
            _current = None
        super().close()

    @property
    def is_alone(self) -> bool:
        """Whether no other thread is at work."""
        return self._at_work == 0

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def busy(self, count: int = 1) -> None:
        """So many more pieces of work are in another thread's hands. From any thread."""
        with self._lock:
            self._at_work += count

    def idle(self) -> None:
        """One piece less. From any thread."""
        with self._lock:
            self._at_work -= 1
        if not self.is_closed():
            self.call_soon_threadsafe(lambda: None)  # it may be waiting for that thread

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        self.busy()
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: self.idle())
        return future


class ThreadOfJobs:
    """One thread that does jobs in order, and is at work while there is any."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._jobs = 0

    def counted(self, work: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Awaitable[Any]]:
        """`work`, a coroutine function, as one job; it goes on if nobody waits for it any more."""

        @functools.wraps(work)
        async def call(*arguments: Any, **named: Any) -> Any:
            if not self._jobs:
                self._loop.busy()
            self._jobs += 1
            task = self._loop.create_task(work(*arguments, **named))
            task.add_done_callback(self._ended)
            return await asyncio.shield(task)

        return call

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._jobs -= 1
        if not self._jobs:
            self._loop.idle()
        _ = task.cancelled() or task.exception()  # whoever still waits is told


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if self._loop.is_alone and timeout is not None:
            if not (events := super().select(0)):
                self._loop.advance(timeout)
            return events
        if not (events := super().select(HELD_LIMIT_S)):
            raise RuntimeError(f"nothing has happened for {HELD_LIMIT_S:.0f} s, and no timer runs on")
        return events


class Gate(threading.Event):
    """An event that a thread waits for without being at work; who sets it sets that thread to work again."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = 0
        self._gate_lock = threading.Lock()

    def wait(self, timeout: float | None = HELD_LIMIT_S) -> bool:
        with self._gate_lock:
            if self.is_set():
                return True
            self._waiting += 1
            if _current is not None:
                _current.idle()
        return super().wait(timeout)

    def set(self) -> None:
        with self._gate_lock:
            if _current is not None:
                _current.busy(self._waiting)
            self._waiting = 0
            super().set()


def sleep(seconds: float) -> None:
    """In a thread: until that much later on the loop's clock; on the real one where that is not virtual."""
    if seconds <= 0:
        return
    if (loop := _current) is None:
        time.sleep(seconds)
        return
    over = Gate()
    loop.call_soon_threadsafe(loop.call_later, seconds, over.set)
    over.wait()
