"""A worker of a cluster: whoever comes has a lease, which says session and network. Over real HTTP."""

import asyncio
import itertools
import secrets
import time

import pytest

from server.placement.lease_tokens import LeaseGate, LeaseTokens
from server.placement.port import LEASE_S, Lease, Orders
from server.settings import load_settings
from server.transport.peer_registry import PeerRegistry
from server.websocket.endpoint import NO_LEASE
from tests.server.running import CAMERA_FPS, PATIENCE_S, Viewer, running_server, until

TOKENS = LeaseTokens(secrets.token_bytes(32))
NUMBERS = itertools.count()


@pytest.fixture
def settings():
    return load_settings({"max_fps": CAMERA_FPS, "max_sessions": 2, "min_fps": 0.0})


@pytest.fixture
def freed():
    return []


@pytest.fixture
def gate(freed):
    gate = LeaseGate(TOKENS, "w", "w-1", on_freed=lambda session, was_used: freed.append((session, was_used)))
    gate.hear(Orders(epoch="e"))
    return gate


@pytest.fixture
async def server(settings, engine, gate):
    async with running_server(settings, engine, gate) as running:
        yield running


def leased(session: str, network: str = "192.0.2.1", *, goes_on: bool = False) -> str:
    lease = Lease(worker="w", url="", token="", session=session, ttl=LEASE_S, start="w-1", epoch="e")
    return TOKENS.make(lease, network, None, time.time(), goes_on=goes_on)


def new_session() -> str:
    return f"session-{next(NUMBERS)}"


async def offered(server, **query: str) -> tuple[int, str, Viewer]:
    """Status and text of the answer to an offer, and who has made it."""
    viewer = Viewer(server.url, server.http)
    response = await viewer.post(await viewer.offer(), **query)
    viewer.location = response.headers.get("Location", "")
    return response.status, await response.text(), viewer


async def test_law_a_worker_takes_nobody_without_a_lease(server):
    status, words, viewer = await offered(server)
    assert (status, words) == (403, "lease: expected one, which the gateway gives; come through it")
    assert (await viewer.post("v=0", lease="nonsense")).status == 403, "nothing is read"
    assert (await server.json("/api/info"))["sessions"] == 0
    await viewer.close()


async def test_law_a_session_has_its_id_from_its_lease_and_a_lease_is_used_once(server):
    session = new_session()
    token = leased(session)
    status, _, viewer = await offered(server, lease=token)
    assert (status, viewer.location) == (201, f"/whip/{session}")
    again = await viewer.post(viewer.pc.localDescription.sdp, lease=token)
    assert (again.status, await again.text()) == (403, "lease: it has been used; ask for another place")
    await viewer.close()


async def test_a_refused_offer_does_not_use_up_its_lease(server):
    token = leased(new_session())
    _, _, viewer = await offered(server)
    assert (await viewer.post("v=0", lease=token)).status == 400
    assert (await viewer.post(viewer.pc.localDescription.sdp, lease=token)).status == 201
    await viewer.close()


async def test_law_a_session_that_is_here_goes_on_by_a_new_lease(server, engine):
    session = new_session()
    async with Connected(server, lease=leased(session)) as viewer:
        await viewer.live()
    await server.empty()
    async with Connected(server, lease=leased(session, goes_on=True), session=session) as viewer:
        await viewer.live()
        assert [count for count, _ in engine.steps].count(9) == 1, (
            "the stream went on, it did not begin again"
        )


@pytest.mark.parametrize("goes_on", [True, False])
async def test_law_nobody_takes_a_session_over_by_leaving_out_its_name(server, goes_on):
    """What is asked for by name is looked at by its owner; what begins belongs to nobody."""
    session = new_session()
    async with Connected(server, lease=leased(session)) as viewer:
        await viewer.live()
        named = {} if goes_on else {"session": session}
        status, words, other = await offered(server, lease=leased(session, goes_on=goes_on), **named)
        assert (status, words) == (403, "lease: expected the session that it is for")
        await other.close()
        seen = len(viewer.frames)
        await until(lambda: len(viewer.frames) > seen + 2, "the first one streams on")


async def test_a_session_that_is_not_here_is_not_made_anew_in_its_name(server, freed):
    session = new_session()
    status, words, viewer = await offered(server, lease=leased(session, goes_on=True), session=session)
    assert (status, words) == (404, "there is no such session any more; begin a new one")
    assert freed == [(session, True)], "its place is free at once"
    other = await viewer.post(
        viewer.pc.localDescription.sdp, lease=leased(session, goes_on=True), session="another"
    )
    assert (other.status, await other.text()) == (403, "lease: expected the session that it is for")
    await viewer.close()


async def test_law_who_leases_is_told_when_a_place_is_free(server, freed):
    session, unused = new_session(), new_session()
    async with Connected(server, lease=leased(session)) as viewer:
        await viewer.live()
        assert freed == []
        assert await viewer.delete() == 200
    await until(lambda: freed == [(session, True)], "the place is free")
    _, _, viewer = await offered(server, lease=leased(unused))
    await viewer.delete()
    await until(lambda: freed[1:] == [(unused, False)], "it showed no picture")
    await viewer.close()


async def test_a_worker_that_has_become_slower_refuses_who_would_be_one_too_many(server, freed, monkeypatch):
    monkeypatch.setattr(PeerRegistry, "places", property(lambda peers: 1))
    _, _, first = await offered(server, lease=leased(new_session()))
    session = new_session()
    status, words, second = await offered(server, lease=leased(session))
    assert (status, words.partition(";")[0]) == (503, "all 1 places are taken")
    assert freed == [(session, True)]
    await first.close()
    await second.close()


async def test_a_websocket_needs_a_lease_too(server):
    async with server.http.ws_connect(f"{server.url}/ws") as socket:
        async with asyncio.timeout(PATIENCE_S):
            await socket.receive()
        assert socket.close_code == NO_LEASE
    session = new_session()
    async with server.http.ws_connect(f"{server.url}/ws", params={"lease": leased(session)}) as socket:
        async with asyncio.timeout(PATIENCE_S):
            await socket.receive()
        async with server.http.get(f"{server.url}/sessions/{session}") as response:
            assert response.status == 200


class Connected:
    """A viewer that came by this query, connected."""

    def __init__(self, server, **query: str) -> None:
        self._viewer = Viewer(server.url, server.http)
        post = self._viewer.post
        self._viewer.post = lambda offer: post(offer, **query)

    async def __aenter__(self) -> Viewer:
        return await self._viewer.connect()

    async def __aexit__(self, *error: object) -> None:
        await self._viewer.close()
