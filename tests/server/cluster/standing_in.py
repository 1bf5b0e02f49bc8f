"""For tests: the actor of placement without Ray, and a cluster's workers and gateway in one process."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from server.access.tokens import Tokens
from server.app import runner_of
from server.cluster.gateway import create_gateway
from server.cluster.lifecycle import worker_settings
from server.cluster.placement_actor import PlacementMaker, RayPlacement
from server.cluster.placement_service import PlacementService
from server.cluster.worker import WorkerPlan, serve_worker
from server.journal.memory import MemoryJournal
from server.placement.lease_tokens import LeaseTokens
from server.placement.table import PlacementTable
from server.settings import Settings, load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import PATIENCE_S, Viewer

SECRET = b"a secret of the cluster, 32 bytes" * 2


class ActorGone(Exception):
    """As calls of an actor raise that has ended."""


class Silent:
    """Handle of an actor that says nothing."""

    def __getattr__(self, name: str) -> Any:
        class Method:
            async def remote(self, *arguments: object) -> None:
                await asyncio.Event().wait()

        return Method()


class Handle:
    """Of an actor: `handle.method.remote(...)` gives what can be awaited."""

    def __init__(self, service: PlacementService) -> None:
        self.service = service
        self.is_alive = True

    def __getattr__(self, name: str) -> Any:
        class Method:
            async def remote(method, *arguments: object) -> Any:
                if not self.is_alive:
                    raise ActorGone
                return await getattr(self.service, name)(*arguments)

        return Method()


class Actor:
    """The named actor, which is made again where it has ended."""

    def __init__(self, now: Callable[[], float], **options: Any) -> None:
        self._now, self._options = now, options
        self.num_made = 0
        self.handle: Handle | None = None

    def find(self) -> Handle:
        if self.handle is None or not self.handle.is_alive:
            self.num_made += 1
            self.handle = Handle(PlacementService(PlacementTable(**self._options), SECRET, self._now))
        return self.handle

    def end(self) -> None:
        assert self.handle is not None
        self.handle.is_alive = False

    def client(self) -> RayPlacement:
        return RayPlacement(self.find, (ActorGone,))


PLACES = {"max_sessions": 2, "min_fps": 0.0, "max_connecting_per_address": 8}


async def started_gateway(stack: AsyncExitStack, settings: Settings, placement: RayPlacement) -> int:
    """Its port; it ends with `stack`."""
    tokens = Tokens.load(settings, SECRET, relays=True)
    runner = runner_of(create_gateway(settings, placement, LeaseTokens(SECRET), tokens), settings)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1]


class Cluster:
    """A gateway and workers around fake engines."""

    def __init__(self, stack: AsyncExitStack, **settings: Any) -> None:
        self._stack = stack
        self.settings = load_settings(PLACES | settings)
        self.actor = Actor(asyncio.get_running_loop().time)
        self.placement = self.actor.client()
        self.journal = MemoryJournal()
        self.workers: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def start(self) -> "Cluster":
        port = await started_gateway(self._stack, self.settings, self.placement)
        self.settings = self.settings.model_copy(update={"port": port})
        self.url = f"http://127.0.0.1:{port}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def begin(self, id: str) -> None:
        """A worker, which is ready when this returns."""
        engine, stopped = FakeEngineModule(), asyncio.Event()
        plan = WorkerPlan(
            id=id,
            settings=worker_settings(self.settings, id, "fake"),
            secret=SECRET,
            placement=PlacementMaker(PlacementTable, SECRET),
            import_engine=lambda: engine,
        )
        task = asyncio.create_task(serve_worker(plan, self.actor.client(), self.journal, stopped))
        self._stack.push_async_callback(self.stop, id)
        self.workers[id] = task, stopped
        await self.until_workers(lambda found: any(one.worker == id and one.is_ready for one in found))

    async def stop(self, id: str) -> None:
        task, stopped = self.workers[id]
        stopped.set()
        await task

    async def until_workers(self, holds: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds([one.report for one in await self.placement.workers() if not one.is_lost]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def worker_of(self, session: str) -> str | None:
        report = await self.placement.worker_of(session)
        return report.worker if report else None

    @asynccontextmanager
    async def viewer(self, former: str | None = None, http: aiohttp.ClientSession | None = None):
        viewer = Viewer(self.url, http or self.http, former)
        try:
            yield await viewer.connect()
        finally:
            await viewer.close()
