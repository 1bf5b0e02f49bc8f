"""Who comes to another server with the id of a session goes on with it there. Over real HTTP and WebRTC."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.journal.memory import MemoryJournal
from server.journal.port import JournalUnavailable
from server.journal.record import Record
from server.metrics import Metrics
from server.placement.port import NoPlace
from server.services import Services
from server.session.session import LiveSession
from server.settings import load_settings
from server.transport.peer_registry import PeerRegistry, SessionGone
from tests.server.fakes import FakeEngineModule
from tests.server.running import CAMERA_FPS, RunningServer, Viewer, running_server, started_worker, until


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS, "max_sessions": 2})


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def second() -> FakeEngineModule:
    return FakeEngineModule()


@pytest.fixture
async def other(settings, second, journal) -> AsyncIterator[RunningServer]:
    """Another server, with an engine of its own."""
    async with running_server(settings, second, journal=journal) as running:
        yield running


def id_of(viewer: Viewer) -> str:
    return viewer.location.rpartition("/")[2]


async def drained(settings, engine, journal) -> str:
    """The id of a session whose client was lost and whose server was stopped."""
    async with running_server(settings, engine, journal=journal) as server, server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "id": "1", "text": "molten gold"})
        await viewer.message("applied", id="1")
    return id_of(viewer)


async def test_a_client_goes_on_at_another_server_with_the_id_of_its_session(
    settings, engine, journal, other, second
):
    id = await drained(settings, engine, journal)
    async with other.viewer(former=id) as viewer:
        assert id_of(viewer) == id
        await viewer.live()
        assert (await viewer.message("hello"))["prompt"] == "molten gold"
        assert 9 not in [count for count, _ in second.steps], "the stream went on, it did not begin again"
        viewer.send({"type": "prompt.set", "id": "2", "text": "clay"})
        await viewer.message("applied", id="2")
        assert await viewer.delete() == 200
    await until(lambda: len(second.streams) == 0, "the stream is freed")
    assert await journal.get(id) is None, "it has ended for good"


@pytest.fixture
async def peers(settings, second, journal) -> AsyncIterator[PeerRegistry]:
    async with started_worker(settings, second) as worker:
        await worker.ready()
        peers = PeerRegistry(Services(settings, worker, Metrics(), journal=journal))
        yield peers
        await peers.dismiss_all()


class Peer:
    """Stays until it is hung up."""

    may_return = False
    is_connected = True

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self._over = asyncio.Event()

    async def begin(self) -> None:
        await asyncio.sleep(0)

    async def attend(self) -> None:
        await self._over.wait()

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        self._over.set()

    async def close(self, *, keeps_session: bool = False) -> None:
        if not keeps_session:
            await self.session.close()


class Failing(Peer):
    async def begin(self) -> None:
        raise ConnectionError


async def test_a_session_is_begun_once_however_often_it_is_asked_for_at_once(
    settings, engine, journal, peers, second
):
    id = await drained(settings, engine, journal)
    answers = await asyncio.gather(*(peers.add(Peer, former=id) for _ in range(4)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(Peer) == 1
    assert [type(answer) for answer in answers].count(SessionGone) == 3
    await until(lambda: len(second.streams) == 1, "the stream")
    assert len(peers) == 1


async def test_a_session_that_finds_no_place_or_does_not_connect_stays_in_the_journal(
    settings, engine, journal, peers
):
    id = await drained(settings, engine, journal)
    with pytest.raises(ConnectionError):
        await peers.add(Failing, former=id)
    await peers.add(Peer)
    await peers.add(Peer)
    with pytest.raises(NoPlace):
        await peers.add(Peer, former=id)
    assert await journal.get(id) is not None and len(peers) == 2


class Lost(Peer):
    may_return = True


async def test_a_session_that_waits_for_its_client_when_the_server_stops_stays_in_the_journal(
    settings, engine, journal, peers
):
    peer = await peers.add(Lost)
    id = peer.session.id
    await until(lambda: len(journal) == 1, "the record")
    peer.hang_up("it was lost")
    await until(lambda: len(peers) == 0, "the peer is gone")
    assert peers.find(id) is peer.session
    await peers.dismiss_all()
    assert await journal.get(id) is not None


async def test_what_is_not_in_the_journal_or_cannot_be_read_is_gone(peers, journal):
    await journal.put("damaged", Record(0, ("session",), {"session": b"{"}).encode())
    for id in ("never-there", "damaged", "no id at all", ""):
        with pytest.raises(SessionGone, match="begin a new one"):
            await peers.add(Peer, former=id)
    assert len(peers) == 0


async def test_law_a_journal_that_does_not_answer_ends_no_session(
    settings, engine, journal, peers, monkeypatch
):
    """Who comes back too early is told to come again, not that the session is gone."""
    id = await drained(settings, engine, journal)

    async def say_nothing(session: str) -> bytes | None:
        raise JournalUnavailable("it is being made again")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "get", say_nothing)
        with pytest.raises(NoPlace, match="try again"):
            await peers.add(Peer, former=id)
    assert (await peers.add(Peer, former=id)).session.id == id
