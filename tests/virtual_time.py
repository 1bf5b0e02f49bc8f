"""An event loop whose clock jumps to the next timer when nothing is left to do: for tests of what time does.

    @pytest.mark.virtual_time
    async def test_...():
        await asyncio.sleep(3600)  # at once, and no sooner than everything else that is due by then

However slow or busy the machine, times are exact. Threads take no time on this clock unless they `sleep`
here: while one is at work the clock stands still. The loop knows of executors' work and of what it is told
(`busy`, `idle`, `JobQueue`). A thread that waits at a `Gate` is not at work.
"""

import asyncio
import queue
import selectors
import sys
import threading
import time
import traceback
from collections.abc import Callable
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
    def at_work(self) -> int:
        """Pieces of work that other threads have in hand."""
        return self._at_work

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

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """Threads that end are at work, too: from Python 3.12 on a timer runs meanwhile."""
        self.busy()
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.idle()


class JobQueue(queue.SimpleQueue[Any]):
    """Jobs for one thread, which is at work until it asks for the first, and from the `put` of a job until it
    asks for one when there is none: whatever it still has to do after a job that it has answered is counted.

    None, which ends the thread, is no job. A thread that ends otherwise has to be `given_up`.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._count_lock = threading.Lock()
        self._count = 0  # of jobs that wait or are in hand; the thread's own beginning is one
        self._is_in_hand = True
        self._add(1)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            self._add(1)
        super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.given_up()
        item = super().get(block, timeout)
        self._is_in_hand = item is not None
        return item

    def get_nowait(self) -> Any:
        item = super().get_nowait()
        if item is not None:
            self._add(-1)
        return item

    def given_up(self) -> None:
        """The thread has nothing in hand any more, if it had."""
        if self._is_in_hand:
            self._is_in_hand = False
            self._add(-1)

    def _add(self, change: int) -> None:
        with self._count_lock:
            was, self._count = self._count, self._count + change
            if not was:
                self._loop.busy()
            elif not self._count:
                self._loop.idle()


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if not self._loop.at_work and timeout is not None:
            if not (events := super().select(0)):
                self._loop.advance(timeout)
            return events
        if not (events := super().select(HELD_LIMIT_S)):
            raise RuntimeError(
                f"nothing has happened for {HELD_LIMIT_S:.0f} s, and no timer runs on: "
                f"{self._loop.at_work} pieces of work in other threads\n{_stacks()}"
            )
        return events


def _stacks() -> str:
    """Where each thread is."""
    frames = sys._current_frames()
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in threading.enumerate()
        if thread.ident in frames
    )


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
