"""A worker as its actor runs it, with the fake engine, behind a gateway: all in one process, without Ray."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from yarl import URL

from server.access.tokens import Grant, SignedTokens
from tests.server.cluster.standing_in import Cluster
from tests.server.running import PATIENCE_S, Viewer, until


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

    async def test_law_who_is_led_to_anothers_session_cannot_take_it_by_leaving_out_its_name(self, cluster):
        """The gateway does not know whose it is; the worker looks, if it is asked for that session."""
        await cluster.begin("fake.1")
        async with self.client("ann") as ann, self.client("bob") as bob, cluster.viewer(http=ann) as viewer:
            await viewer.live()
            id = viewer.location.rpartition("/")[2]
            other = Viewer(cluster.url, bob)
            try:
                offer = {"data": await other.offer(), "headers": {"Content-Type": "application/sdp"}}
                led = await bob.post(f"{cluster.url}/whip?session={id}", allow_redirects=False, **offer)
                entry = URL(led.headers["Location"])
                async with bob.post(entry.without_query_params("session"), **offer) as response:
                    assert response.status == 403
            finally:
                await other.close()
            before = len(viewer.frames)
            await until(lambda: len(viewer.frames) > before + 3, "ann streams on")

    async def test_law_a_session_goes_on_at_another_worker_for_its_publisher_alone(self, cluster):
        for number in (1, 2):
            await cluster.begin(f"fake.{number}")
        async with self.client("ann") as ann, self.client("bob") as bob, self.client("eve", "admin") as eve:
            async with cluster.viewer(http=ann) as viewer:
                await viewer.live()
                id = viewer.location.rpartition("/")[2]
                await until(lambda: len(cluster.journal) > 0, "it is in the journal")
                at = await cluster.worker_of(id)
                await cluster.placement.drain(at)
                await asyncio.wait_for(cluster.workers[at][0], PATIENCE_S)
            other = Viewer(cluster.url, bob, id)
            try:
                assert (await other.post(await other.offer())).status == 404
            finally:
                await other.close()
            for http in (ann, eve):
                async with cluster.viewer(id, http=http) as again:
                    await again.live()
                    assert again.received("hello")[0]["session"] == id

    async def test_law_a_worker_asks_for_a_token_as_the_gateway_does(self, cluster):
        await cluster.begin("fake.1")
        (worker,) = await cluster.placement.workers()
        async with cluster.http.get(f"{worker.report.url}/api/info") as response:
            assert response.status == 401

    async def test_law_what_a_login_let_in_ends_at_its_worker_when_it_ends_at_a_gateway(self, cluster):
        await cluster.begin("fake.1")
        token = SignedTokens(self.SECRET).make(Grant("ann", "publish"))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            async with http.post(f"{cluster.url}/login", json={"token": token}) as response:
                cookie = {"Cookie": f"depthlive={response.cookies['depthlive'].value}"}
        async with aiohttp.ClientSession(headers=cookie) as page, cluster.viewer(http=page) as viewer:
            await viewer.live()
            async with page.post(f"{cluster.url}/logout") as response:
                assert response.status == 204
            await until(lambda: viewer.control.readyState == "closed", "it is hung up")
