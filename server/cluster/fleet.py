"""Fleet of workers as the gateway sees it: placement's port with the two questions that routing needs."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from server.cluster.logouts import LogoutPlace
from server.cluster.placement_service import WorkerStatus
from server.placement.port import Placement, WorkerReport

FRESH_S = 0.5  # for so long what was told of all workers holds


class ClusterPlacement(Placement, LogoutPlace, Protocol):
    """The port, and who is there. All raise ConnectionError where placement does not answer; `acquire` raises
    NoPlace then."""

    async def workers(self) -> Sequence[WorkerStatus]: ...

    async def worker_of(self, session: str) -> WorkerReport | None:
        """Who has this session, or had it last; None where that is not known, or lost."""
        ...


class Fleet:
    """All workers, asked for at most once in FRESH_S however many requests come, and whether or not there is
    an answer: those who waited for one are not to wait for the next."""

    def __init__(self, placement: ClusterPlacement) -> None:
        self._placement = placement
        self._known: tuple[WorkerReport, ...] = ()
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def workers(self) -> tuple[WorkerReport, ...]:
        """Those that are not lost. Where placement does not answer, those that were last known."""
        now = asyncio.get_running_loop().time
        async with self._asking:
            if self._asked_at is None or now() - self._asked_at > FRESH_S:
                with suppress(ConnectionError):
                    found = await self._placement.workers()
                    self._known = tuple(one.report for one in found if not one.is_lost)
                self._asked_at = now()
        return self._known

    async def ready(self) -> tuple[WorkerReport, ...]:
        """Those that let somebody in."""
        return tuple(one for one in await self.workers() if one.is_ready and not one.is_draining)

    async def any_ready(self) -> WorkerReport | None:
        """One of them, each as likely; None without any."""
        found = await self.ready()
        return random.choice(found) if found else None
