"""Journals of a cluster: on each machine an actor that keeps records of sessions in memory, for workers of
another machine; and their client in each worker.

No machine takes a session with it and its record, too: a worker puts them to the machine after its own, in
the order of ids. Where there is no other it is its own, until there is one. What a journal has may be lost:
sessions put what it lacks with their next chunk.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from server.cluster.ray_runtime import JOURNAL_PREFIX, NAMESPACE, ray_module
from server.journal.memory import Found, MemoryJournal
from server.journal.port import JournalUnavailable, PutAnswer

T = TypeVar("T")

ANSWER_S = 2.0
BEGIN_S = 60.0  # for an actor to begin, on a machine that has other things to do
LOOK_S = 30.0  # after so long without another machine it is looked for again
MAX_FORMER = 1024  # sessions whose former records are remembered until there is a newer one
MAX_RESTARTS = 20  # by Ray; one that ends more often is made again by whoever asks


class Journals(Protocol):
    """All journals, as handles of their actors. Both block."""

    def own(self) -> tuple[Any, bool]:
        """Where this process is to put its records, made where there is none; whether on another machine."""
        ...

    def all(self) -> Sequence[Any]: ...


class RayJournal:
    """The port, by calls of the actors. One that finds its own dead, or silent, raises JournalUnavailable;
    the next finds another or makes it again."""

    def __init__(
        self,
        journals: Journals,
        gone: tuple[type[Exception], ...],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gone`: what calls of an ended actor raise."""
        self._journals = journals
        self._is_lost: tuple[type[Exception], ...] = (TimeoutError, *gone)
        self._now = now
        self._own: Any = None
        self._is_elsewhere = False
        self._chosen_at = 0.0
        # Of its own: where Ray hangs, each try leaves one behind, and a worker's pictures are coded in those
        # that all share.
        self._finder = ThreadPoolExecutor(1, "find-journal")
        self._former: OrderedDict[str, list[tuple[Any, int]]] = (
            OrderedDict()
        )  # journals and moves, by session

    async def begin(self) -> None:
        """Have its actor made before anybody needs it. Nothing where that fails: whoever asks tries again."""
        with suppress(*self._is_lost):
            async with asyncio.timeout(BEGIN_S):
                await (await self._chosen()).found.remote("-")

    async def put(self, session: str, record: bytes) -> PutAnswer:
        answer: PutAnswer = await self._answered(self._put(session, record))
        if not answer.missing:
            for journal, moves in self._former.pop(session, ()):
                with suppress(JournalUnavailable):
                    await self._answered(journal.forget.remote(session, moves))
        return answer

    async def get(self, session: str) -> bytes | None:
        """The newest of all journals' records: which of them has it nobody knows, once its worker is lost."""
        journals: Sequence[Any] = await self._answered(self._found_by(self._journals.all))
        answers: list[Found | None | JournalUnavailable] = await asyncio.gather(
            *(self._found(journal, session) for journal in journals)
        )
        found = [
            (one, journal) for one, journal in zip(answers, journals, strict=True) if isinstance(one, Found)
        ]
        if not found:
            for answer in answers:
                if isinstance(answer, JournalUnavailable):
                    raise answer  # it may be the one
            return None
        self._former[session] = [(journal, one.moves) for one, journal in found]
        while len(self._former) > MAX_FORMER:
            self._former.popitem(last=False)
        return max((one for one, _ in found), key=lambda one: (one.moves, -one.age_s)).record

    async def forget(self, session: str, moves: int) -> None:
        self._former.pop(session, None)
        own = await self._answered(self._chosen())
        # One that has moved may be in others, too.
        journals = await self._answered(self._found_by(self._journals.all)) if moves else [own]
        for journal in journals:
            await self._answered(journal.forget.remote(session, moves))

    async def _put(self, session: str, record: bytes) -> PutAnswer:
        return await (await self._chosen()).put.remote(session, record)

    async def _chosen(self) -> Any:
        is_to_look = not self._is_elsewhere and self._now() - self._chosen_at > LOOK_S
        if self._own is None or is_to_look:
            self._own, self._is_elsewhere = await self._found_by(self._journals.own)
            self._chosen_at = self._now()
        return self._own

    def _found_by(self, find: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._finder, find)

    async def _found(self, journal: Any, session: str) -> Found | None | JournalUnavailable:
        try:
            return await self._answered(journal.found.remote(session))
        except JournalUnavailable as error:
            return error

    async def _answered(self, call: Any) -> Any:
        """Raises JournalUnavailable where there is no answer in time; then its own journal is chosen anew."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await call
        except self._is_lost as error:
            self._own = None
            raise JournalUnavailable(f"the cluster's journal does not answer ({error!r:.200})") from error


def other_machine(machines: Sequence[str], here: str) -> str:
    """The one after this in the order of their ids, so that each has as much to keep as others; `here` if it
    is alone."""
    others = sorted(one for one in machines if one != here)
    return next((one for one in others if one > here), others[0] if others else here)


class ActorJournals:
    """Those of the cluster that this process is a part of."""

    def own(self) -> tuple[Any, bool]:
        ray, here = ray_module(), ray_module().get_runtime_context().get_node_id()
        machine = other_machine([node["NodeID"] for node in ray.nodes() if node["Alive"]], here)
        affinity = ray_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        options = {
            "name": JOURNAL_PREFIX + machine,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": MAX_RESTARTS,
            "num_cpus": 0,
            "scheduling_strategy": affinity(node_id=machine, soft=False),
        }
        return ray.remote(MemoryJournal).options(**options).remote(), machine != here

    def all(self) -> list[Any]:
        ray, found = ray_module(), list[Any]()
        for name in ray.util.list_named_actors():
            if name.startswith(JOURNAL_PREFIX):
                with suppress(ValueError):  # it has ended since
                    found.append(ray.get_actor(name, namespace=NAMESPACE))
        return found


def journal_client() -> RayJournal:
    """The port, for one event loop."""
    return RayJournal(ActorJournals(), (ray_module("ray.exceptions").RayActorError,))
