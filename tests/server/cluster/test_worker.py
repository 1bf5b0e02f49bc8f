"""A worker as its actor runs it, with the fake engine, behind a gateway: all in one process, without Ray."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.access.tokens import Grant, SignedTokens, Tokens
from server.app import runner_of
from server.cluster.gateway import create_gateway
from server.cluster.lifecycle import worker_settings
from server.cluster.placement_actor import PlacementMaker
from server.cluster.worker import WorkerPlan, serve_worker
from server.journal.memory import MemoryJournal
from server.placement.lease_tokens import LeaseTokens
from server.placement.table import PlacementTable
from server.settings import load_settings
from tests.server.cluster.standing_in import SECRET, Actor
from tests.server.fakes import FakeEngineModule
from tests.server.running import PATIENCE_S, Viewer, until

PLACES = {"max_sessions": 2, "min_fps": 0.0, "max_connecting_per_address": 8}


class Cluster:
    """A gateway and workers around fake engines; `kill` ends a worker as SIGKILL would."""

    def __init__(self, stack: AsyncExitStack, **settings: Any) -> None:
        self._stack = stack
        self.settings = load_settings(PLACES | settings)
        self.actor = Actor(asyncio.get_running_loop().time)
        self.placement = self.actor.client()
        self.journal = MemoryJournal()
        self.workers: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def start(self) -> "Cluster":
        tokens = Tokens.load(self.settings, SECRET)
        app = create_gateway(self.settings, self.placement, LeaseTokens(SECRET), tokens)
        runner = runner_of(app, self.settings)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
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


@pytest.fixture
async def cluster():
    async with AsyncExitStack() as stack:
        yield await Cluster(stack).start()


async def test_law_a_client_that_follows_streams_from_a_worker_through_the_gateway(cluster):
    await cluster.begin("fake.1")
    async with cluster.viewer() as viewer:
        await viewer.live()
        await until(lambda: len(viewer.frames) > 3, "pictures come")
        (hello,) = viewer.received("hello")
        async with cluster.http.get(f"{cluster.url}/sessions/{hello['session']}") as response:
            assert (await response.json())["state"] == "live"
        assert viewer.location == f"/whip/{hello['session']}"
        assert await viewer.delete() == 200  # at the gateway, which hands it on


async def test_law_a_worker_takes_nobody_without_a_lease(cluster):
    await cluster.begin("fake.1")
    (worker,) = await cluster.placement.workers()
    viewer = Viewer(worker.report.url, cluster.http)
    try:
        response = await viewer.post(await viewer.offer())
        assert response.status == 403 and "lease" in await response.text()
    finally:
        await viewer.close()


async def test_law_no_more_come_than_there_are_places(cluster):
    await cluster.begin("fake.1")
    async with cluster.viewer() as one, cluster.viewer() as two:
        await one.live()
        await two.live()
        third = Viewer(cluster.url, cluster.http)
        try:
            response = await third.post(await third.offer(), ticket="a-ticket-of-my-own")
            assert response.status == 202
        finally:
            await third.close()


async def test_law_a_lost_client_goes_on_with_its_session(cluster):
    for number in (1, 2):
        await cluster.begin(f"fake.{number}")
    async with cluster.viewer() as first:
        await first.live()
        session = first.received("hello")[0]["session"]
        at = await cluster.worker_of(session)
        async with cluster.viewer(session) as again:
            await again.live()
            assert again.received("hello")[0]["session"] == session
            assert await cluster.worker_of(session) == at


async def test_law_a_drained_workers_sessions_go_on_elsewhere_and_it_ends(cluster):
    for number in (1, 2):
        await cluster.begin(f"fake.{number}")
    async with cluster.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "id": "1", "text": "a fox of glass"})
        await viewer.message("applied", id="1")
        await until(lambda: len(cluster.journal) > 0, "it is in the journal")
        session = viewer.received("hello")[0]["session"]
        at = await cluster.worker_of(session)
        assert at is not None
        await cluster.placement.drain(at)
        await until(lambda: viewer.control.readyState == "closed", "it is hung up")
        async with cluster.viewer(session) as again:
            await again.live()
            assert again.received("hello")[0]["session"] == session
            assert again.received("hello")[0]["prompt"] == "a fox of glass"
            assert await cluster.worker_of(session) not in (None, at)
            await asyncio.wait_for(cluster.workers[at][0], PATIENCE_S)
            before = len(again.frames)
            await until(lambda: len(again.frames) > before + 3, "pictures go on")


async def test_law_an_actor_of_placement_that_is_lost_costs_no_stream(cluster):
    await cluster.begin("fake.1")
    async with cluster.viewer() as viewer:
        await viewer.live()
        session = viewer.received("hello")[0]["session"]
        cluster.actor.end()
        before = len(viewer.frames)
        async with asyncio.timeout(PATIENCE_S):
            while await cluster.worker_of(session) is None:  # noqa: ASYNC110 -- of other objects
                await asyncio.sleep(0.05)
        await until(lambda: len(viewer.frames) > before + 3, "pictures go on")
        assert cluster.actor.num_made == 2


class TestWithTokens:
    SECRET = b"0123456789abcdef" * 4

    @pytest.fixture
    async def cluster(self, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes(self.SECRET)
        async with AsyncExitStack() as stack:
            yield await Cluster(stack, auth_secret_file=secret).start()

    @asynccontextmanager
    async def client(self, name: str, role: Any = "publish"):
        headers = {"Authorization": "Bearer " + SignedTokens(self.SECRET).make(Grant(name, role))}
        async with aiohttp.ClientSession(headers=headers) as http:
            yield http

    async def test_law_a_session_is_its_publishers_on_whatever_worker(self, cluster):
        await cluster.begin("fake.1")
        async with self.client("ann") as ann, self.client("bob") as bob, cluster.viewer(http=ann) as viewer:
            await viewer.live()
            session = f"{cluster.url}{viewer.location.replace('/whip/', '/sessions/')}"
            for http, status in ((ann, 200), (bob, 403)):
                async with http.get(session) as response:
                    assert response.status == status
            async with bob.delete(cluster.url + viewer.location) as response:
                assert response.status == 403
            other = Viewer(cluster.url, bob, viewer.location.rpartition("/")[2])
            try:
                response = await other.post(await other.offer())  # nor may he take it up
                assert response.status == 403
            finally:
                await other.close()
            async with ann.delete(cluster.url + viewer.location) as response:
                assert response.status == 200

    async def test_law_a_worker_asks_for_a_token_as_the_gateway_does(self, cluster):
        await cluster.begin("fake.1")
        (worker,) = await cluster.placement.workers()
        async with cluster.http.get(f"{worker.report.url}/api/info") as response:
            assert response.status == 401
