"""Worker of a cluster: an actor of Ray that runs a whole server in its process, and reports to placement."""

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from server.access.addresses import WILDCARDS, in_url
from server.access.hosts import check_bind
from server.access.tokens import Tokens
from server.app import PEERS, TOKENS, create_app, listening
from server.cluster.fleet import ClusterPlacement
from server.cluster.heartbeat import beat
from server.cluster.journal_actor import journal_client
from server.cluster.logouts import SharedLogouts
from server.cluster.placement_actor import PlacementMaker, RayPlacement
from server.cluster.ray_runtime import NAMESPACE, WORKER_PREFIX, ray_module
from server.engine.client import EngineClient
from server.engine.thread import import_engine
from server.journal.port import Journal
from server.logs import configure_logging
from server.placement.lease_tokens import LeaseGate, LeaseTokens
from server.placement.port import Orders, Placement, WorkerReport
from server.settings import Settings
from server.transport.peer_registry import PeerRegistry

if TYPE_CHECKING:
    from streaming.engine import StreamEngine

logger = logging.getLogger(__name__)

MAX_RESTARTS = 10  # by Ray, of one worker; one that ends more often stays away
TOLD_S = 1.0  # after the last session has left: clients still ask, and are told that it is gone
MAX_TELLING = 64  # releases on their way; of more the next report tells
STOP_S = 10.0  # stopping takes 8 at most
FREED_S = 20.0  # for the name of one that has ended to be free again
LOOK_S = 0.5
ANSWER_S = 2.0  # of an actor that runs; one that is being started takes longer
MOVES = "this worker ends; the session goes on at another"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What an actor is made of; Ray makes it again of the same."""

    id: str
    settings: Settings
    secret: bytes = field(repr=False)  # of the cluster: who has it lets anybody in
    placement: PlacementMaker
    import_engine: "Callable[[], type[StreamEngine]]" = import_engine


class ModelLost(Exception):
    """The model can do no more work; a fresh process has to."""


class WorkerServer:
    """The server of one worker, as its heartbeat and its end know it."""

    def __init__(self, url: str, peers: PeerRegistry, gate: LeaseGate) -> None:
        self._url = url
        self._peers = peers
        self._gate = gate

    def report(self) -> WorkerReport:
        return replace(
            self._peers.report(),
            worker=self._gate.worker,
            start=self._gate.start,
            epoch=self._gate.epoch,
            url=self._url,
            is_draining=self._gate.is_draining,
        )

    def hear(self, orders: Orders) -> bool:
        return self._gate.hear(orders)

    async def end_elsewhere(self, sessions: tuple[str, ...]) -> None:
        for session in sessions:
            await self._peers.dismiss(session, "it goes on at another worker")

    async def drain(self) -> None:
        logger.info("Draining")
        while held := self._peers.held():
            for session in held:
                await self._peers.dismiss(session.id, MOVES, may_return=not session.is_kept)
            await asyncio.sleep(TOLD_S)


async def serve_worker(
    plan: WorkerPlan, placement: ClusterPlacement, journal: Journal, stopped: asyncio.Event
) -> None:
    """Serve until drained, or until `stopped`. Raises ModelLost, and what keeps the server from beginning."""
    check_bind(plan.settings)
    engine = EngineClient(plan.settings, plan.import_engine)
    engine.restarts = True
    gate = LeaseGate(LeaseTokens(plan.secret), plan.id, secrets.token_urlsafe(8))
    app = create_app(plan.settings, engine, gate, journal=journal, shared=plan.secret)
    async with (
        listening(plan.settings, app) as url,
        _releasing(placement, gate),
        _logging_out(placement, app.get(TOKENS)),
    ):
        beating = asyncio.create_task(
            beat(placement, WorkerServer(_reachable(url, plan.settings), app[PEERS], gate))
        )
        lost = asyncio.create_task(_lost(engine))
        ends: list[asyncio.Task[Any]] = [beating, lost, asyncio.create_task(stopped.wait())]
        done, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in done:
            task.result()


@asynccontextmanager
async def _releasing(placement: Placement, gate: LeaseGate) -> AsyncGenerator[None]:
    """Whose place is free is told at once, not only with the next report."""
    telling: set[asyncio.Task[None]] = set()

    async def tell(session: str, was_used: bool) -> None:
        with suppress(ConnectionError):  # the next report tells it
            await placement.release(session, gate.worker, was_used)

    def freed(session: str, was_used: bool) -> None:
        if len(telling) < MAX_TELLING:
            task = asyncio.create_task(tell(session, was_used))
            telling.add(task)
            task.add_done_callback(telling.discard)

    gate.on_freed = freed
    try:
        yield
    finally:
        await asyncio.gather(*telling)


def _logging_out(placement: ClusterPlacement, tokens: Tokens | None) -> AbstractAsyncContextManager[None]:
    """What a login let in ends here, too, once that has ended at a gateway."""
    return nullcontext() if tokens is None else SharedLogouts(placement, tokens.ended).kept()


def _reachable(url: str, settings: Settings) -> str:
    """Where gateways and clients of other machines find this server, also if it listens on all addresses."""
    if settings.host not in WILDCARDS:
        return url
    return f"http://{in_url(ray_module('ray.util').get_node_ip_address())}:{urlsplit(url).port}"


async def _lost(engine: EngineClient) -> NoReturn:
    """Raises ModelLost once the model is."""
    found = asyncio.Event()

    def look() -> None:
        if engine.is_lost:
            found.set()

    unsubscribe = engine.subscribe(look)
    try:
        await found.wait()
        raise ModelLost(engine.readiness.reason)
    finally:
        unsubscribe()


class WorkerActor:
    """The actor. Its server runs in a thread, on a loop of its own, and not as a call: Ray repeats none that
    has ended its process."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()

    def process(self) -> int:
        """Its number in the system."""
        return os.getpid()

    def has_ended(self) -> bool:
        """Whether it was drained: its process is just about to end."""
        return self._has_ended

    def stop(self) -> None:
        """End the server in order; returns once it has ended, or does not."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        plan = self._plan
        configure_logging(plan.settings.log_level, plan.settings.log_format)
        placement = plan.placement.client()
        try:
            asyncio.run(self._serve(placement))
        except Exception:  # whatever it is, a fresh process is the answer, and Ray counts how many
            logger.exception("The worker %s ends", plan.id)
            logging.shutdown()
            os._exit(1)
        end_worker(plan.id)

    async def _serve(self, placement: RayPlacement) -> None:
        self._loop = asyncio.get_running_loop()
        journal = journal_client()
        await journal.begin()  # before the first session comes
        await serve_worker(self._plan, placement, journal, self._stopped)
        self._has_ended = True  # before nobody knows any more that it drains
        await placement.forget(self._plan.id)


def begin_worker(plan: WorkerPlan, *, num_gpus: float) -> None:
    """Have Ray start an actor where there is room; it goes on after this process. Raises ConnectionError
    where one of the same id takes too long to end."""
    options = {
        "name": WORKER_PREFIX + plan.id,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": MAX_RESTARTS,
        "num_cpus": 0,
        "num_gpus": num_gpus,
    }
    actor = ray_module().remote(WorkerActor).options(**options)
    until = time.monotonic() + FREED_S
    while True:
        try:
            return actor.remote(plan)
        except ValueError as error:  # the name
            if time.monotonic() > until:
                raise ConnectionError(f"worker: {plan.id} has not ended yet; try again soon") from error
            time.sleep(LOOK_S)


def end_worker(id: str) -> None:
    """At once, and for good. Nothing if there is none."""
    ray = ray_module()
    try:
        actor = ray.get_actor(WORKER_PREFIX + id, namespace=NAMESPACE)
    except ValueError:
        return
    ray.kill(actor, no_restart=True)


def stop_worker(id: str) -> None:
    """In order, if it answers; it has ended when this returns."""
    ray = ray_module()
    with suppress(ValueError, ray.exceptions.RayError):
        actor = ray.get_actor(WORKER_PREFIX + id, namespace=NAMESPACE)
        ray.get(actor.stop.remote(), timeout=STOP_S + 1)
    end_worker(id)


def worker_ids() -> list[str]:
    """Of all actors that Ray knows, those that are being started too; none that has ended or is about to."""
    ray = ray_module()
    asked: dict[Any, str] = {}
    for name in ray.util.list_named_actors():
        if name.startswith(WORKER_PREFIX):
            with suppress(ValueError):  # it has ended since
                actor = ray.get_actor(name, namespace=NAMESPACE)
                asked[actor.has_ended.remote()] = name.removeprefix(WORKER_PREFIX)
    if asked:
        ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    return sorted(id for call, id in asked.items() if not _has_ended(call))


def _has_ended(call: Any) -> bool:
    ray = ray_module()
    try:
        return ray.get(call, timeout=0)
    except ray.exceptions.ActorDiedError:
        return True
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):  # it is being started
        return False
