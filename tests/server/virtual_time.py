"""Virtual time for tests: the loop's clock jumps to the next timer as soon as nothing else is to do.

Sleeps take no time, and last exactly as long as they say, however busy the machine is. For what waits for
timers alone: what a thread or a socket does takes no virtual time, and must not race a timer.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture
async def virtual_time(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The running loop's. Import it into the module of the tests that use it."""
    loop: Any = asyncio.get_running_loop()
    selector, now = loop._selector, loop.time()
    select = selector.select

    def jump(patience: float | None = None) -> list[Any]:
        nonlocal now
        if patience is None:
            return select(None)
        events = select(0)
        if not events:
            now += max(0.0, patience)
        return events

    monkeypatch.setattr(selector, "select", jump)
    monkeypatch.setattr(loop, "time", lambda: now)
    yield
