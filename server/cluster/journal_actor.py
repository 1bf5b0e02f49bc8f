"""Journal of a cluster: an actor that keeps the sessions' records in memory, and its client in each worker.

Its state may be lost: sessions put what it lacks with their next chunk. Where a cluster has several machines
Ray puts it on one of them; a worker that is lost with that machine too is lost with its sessions.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from server.cluster.ray_runtime import JOURNAL, NAMESPACE, ray_module
from server.journal.memory import MemoryJournal
from server.journal.port import JournalUnavailable, PutAnswer

ANSWER_S = 2.0
MAX_RESTARTS = 20  # by Ray; one that ends more often is made again by whoever asks


class RayJournal:
    """The port, by calls of the actor. One that finds it dead, or silent, raises JournalUnavailable; the next
    finds it or makes it again."""

    def __init__(self, find: Callable[[], Any], gone: tuple[type[Exception], ...]) -> None:
        """`find` gives a handle of the actor; it may block. `gone`: what calls of an ended one raise."""
        self._find = find
        self._is_lost: tuple[type[Exception], ...] = (TimeoutError, *gone)
        self._actor: Any = None

    async def put(self, session: str, record: bytes) -> PutAnswer:
        return await self._call("put", session, record)

    async def get(self, session: str) -> bytes | None:
        return await self._call("get", session)

    async def forget(self, session: str, moves: int) -> None:
        await self._call("forget", session, moves)

    async def _call(self, method: str, *arguments: object) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._actor is None:
                    self._actor = await asyncio.to_thread(self._find)
                return await getattr(self._actor, method).remote(*arguments)
        except self._is_lost as error:
            self._actor = None
            raise JournalUnavailable(f"the cluster's journal does not answer ({error!r:.200})") from error


def find_journal() -> Any:
    """The actor's handle; it is made where there is none. Blocks."""
    options = {
        "name": JOURNAL,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": MAX_RESTARTS,
        "num_cpus": 0,
        "scheduling_strategy": "SPREAD",  # on another machine than a worker, where there is one
    }
    return ray_module().remote(MemoryJournal).options(**options).remote()


def journal_client() -> RayJournal:
    """The port, for one event loop."""
    return RayJournal(find_journal, (ray_module("ray.exceptions").RayActorError,))
