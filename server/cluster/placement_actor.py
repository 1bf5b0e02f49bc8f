"""Placement actor of a cluster, and its client in workers and gateways, which is the port `Placement`."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from server.access.validity import Logouts
from server.cluster.placement_service import PlacementService, Refused, Table, WorkerStatus
from server.cluster.ray_runtime import NAMESPACE, PLACEMENT, ray_module
from server.placement.port import Lease, NoPlace, Orders, Spec, WorkerReport

logger = logging.getLogger(__name__)

TRIES = 4
ANSWER_S = 2.0  # for one try; it decides in microseconds
PAUSE_S = 0.25  # between two; an actor that was ended is back after a second
MAX_RESTARTS = 20  # by Ray; one that ends more often is made again by whoever asks
UNAVAILABLE = "placement does not answer; try again soon"


@dataclass(frozen=True, slots=True)
class PlacementMaker:
    """Finds the actor, or makes it where there is none. Goes from process to process, so that any can."""

    table: Callable[[], Table]
    secret: bytes = field(repr=False)  # of the cluster: who has it lets anybody in

    def find(self) -> Any:
        """Its handle. Blocks."""
        options = {
            "name": PLACEMENT,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": MAX_RESTARTS,
            "num_cpus": 0,
        }
        return ray_module().remote(PlacementService).options(**options).remote(self.table(), self.secret)

    def client(self) -> "RayPlacement":
        """The port, for one event loop."""
        return _client(self.find)


def existing_placement() -> "RayPlacement":
    """The port, for one event loop, for who does not know what the actor is made of: it makes none."""
    return _client(lambda: ray_module().get_actor(PLACEMENT, namespace=NAMESPACE))


def _client(find: Callable[[], Any]) -> "RayPlacement":
    return RayPlacement(find, (ray_module("ray.exceptions").RayActorError,))


class RayPlacement:
    """The port, by calls of the actor. A call that finds it dead, or silent, finds it or makes it again;
    after TRIES it gives up: NoPlace for `acquire`, ConnectionError for the others."""

    def __init__(self, find: Callable[[], Any], gone: tuple[type[Exception], ...]) -> None:
        """`find` gives a handle of the actor; it may block. `gone`: what calls of an ended one raise."""
        self._find = find
        # ValueError: there is none of its name yet, or it is just being freed.
        self._is_lost: tuple[type[Exception], ...] = (TimeoutError, ValueError, *gone)
        self._actor: Any = None
        # Of its own: where Ray hangs, each try leaves one behind, and a worker's pictures are coded in those
        # that all share.
        self._finder = ThreadPoolExecutor(1, "find-placement")

    async def acquire(self, spec: Spec) -> Lease:
        try:
            answer: Lease | Refused = await self._call("acquire", spec)
        except ConnectionError as error:
            raise NoPlace(UNAVAILABLE, why="stopping") from error
        if isinstance(answer, Refused):
            raise answer.raised()
        return answer

    async def heartbeat(self, report: WorkerReport) -> Orders:
        return await self._call("heartbeat", report)

    async def release(self, session: str, worker: str | None = None, was_used: bool = True) -> None:
        await self._call("release", session, worker, was_used)

    async def leave_queue(self, ticket: str) -> bool:
        return await self._call("leave_queue", ticket)

    async def drain(self, worker: str) -> None:
        if not await self._call("drain", worker):
            raise KeyError(worker)

    async def forget(self, worker: str) -> None:
        await self._call("forget", worker)

    async def workers(self) -> tuple[WorkerStatus, ...]:
        return await self._call("workers")

    async def worker_of(self, session: str) -> WorkerReport | None:
        return await self._call("worker_of", session)

    async def logouts(self, known: str) -> Logouts | None:
        return await self._call("logouts", known)

    async def learn_logouts(self, told: Logouts) -> None:
        await self._call("learn_logouts", told)

    async def _call(self, method: str, *arguments: object) -> Any:
        """Raises ConnectionError."""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(ANSWER_S):
                    if self._actor is None:
                        loop = asyncio.get_running_loop()
                        self._actor = await loop.run_in_executor(self._finder, self._find)
                    return await getattr(self._actor, method).remote(*arguments)
            except self._is_lost as error:
                logger.warning("Placement, %s: %r", method, error)
                self._actor = None
        raise ConnectionError(UNAVAILABLE)
