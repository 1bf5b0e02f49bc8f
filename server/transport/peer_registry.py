"""Registry of peers: their admission, and the sessions that are kept for a lost peer to return."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol, TypeVar

from server.journal.port import JournalUnavailable
from server.journal.record import SESSION_ID, RecordRejected
from server.logs import session_logger
from server.metrics import Refusal
from server.services import Services
from server.session.session import LiveSession
from server.session.session_record import SessionRecord
from server.transport.address_limits import network_of
from server.transport.admission import PRESENT_S, AdmissionQueue, QueueStatus
from server.transport.registry import Registry


class ServerFull(Exception):
    """As many peers as allowed, or as the model can serve, are here already; or whoever is first in line
    comes first."""

    def __init__(self, words: str, position: int | None = None, why: Refusal = "full") -> None:
        super().__init__(words)
        self.why: Refusal = why  # for the figures
        self.position = position  # in line, from 1; None for who is not in it


class SessionGone(Exception):
    """There is no session to go on with; the text says what to do."""


class Peer(Protocol):
    """A client that holds a place with a session, over WebRTC or a WebSocket."""

    @property
    def session(self) -> LiveSession: ...

    @property
    def may_return(self) -> bool:
        """Whether its session is to be kept for it."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether it has ever been: an offer alone is no connection."""
        ...

    async def begin(self) -> None:
        """Connect; the session runs after that."""
        ...

    async def attend(self) -> None: ...

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None: ...

    async def close(self, *, keeps_session: bool = False) -> None: ...


AnyPeer = TypeVar("AnyPeer", bound=Peer)


class PeerRegistry:
    """Every peer of this process, with its session.

    The session of a peer that was lost, not dismissed, is kept for `resume_seconds`: with its prompt, its
    pictures and its recording. It gives its place to whoever comes while all are taken.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._peers: Registry[str, Peer] = Registry(self._close, services.metrics.sessions)
        self._kept: dict[str, LiveSession] = {}  # without a peer; oldest first
        self._ends: dict[str, asyncio.Task[None]] = {}  # of those, each at its time
        self._networks: dict[str, str] = {}  # of those who are here, by session
        self._queue = AdmissionQueue(self._held_by)
        self._now = asyncio.get_running_loop().time

    @property
    def places(self) -> int:
        """How many may be here: as many as each keep `min_fps`, by the measured pace of the model. Whoever is
        alone may always."""
        most, pace = self._settings.max_sessions, self._services.engine.pace
        needed = min(self._settings.min_fps, self._settings.max_fps)
        if pace is None or not needed:
            return most
        return max(1, min(most, int(pace / needed)))

    def __len__(self) -> int:
        """How many are here; not those that may return."""
        return len(self._peers)

    def find(self, id: str) -> LiveSession | None:
        """The running session of this id, whether its peer is here or may return."""
        peer = self._peers.get(id)
        return peer.session if peer else self._kept.get(id)

    def peer(self, id: str) -> Peer | None:
        """Who holds this session, once it has begun; None while nobody does."""
        return self._peers.admitted(id)

    async def add(
        self,
        make: Callable[[LiveSession], AnyPeer],
        former: str | None = None,
        ticket: str | None = None,
        address: str = "",
    ) -> AnyPeer:
        """Let in whoever `make` makes of a session: a new one, or that of a lost peer, whose id is `former`.
        Both have begun when this returns.

        `address` is the client's, whose network may hold so many places, and so many offers that have not
        connected. With a ticket, whoever finds the server full waits in line: asking again with it keeps the
        place. The old connection of `former`, if it is not known to be lost yet, is closed. Raises
        ServerFull, SessionGone and what the peer's `begin` does; the session of `former` is not harmed.
        """
        self._check_open()
        if former is None:
            self.check_room(ticket, address)
            if (waited := self._queue.waited(ticket, self._now())) is not None:
                self._services.metrics.admission_wait.observe(waited)
            self._queue.leave(ticket)
            id = secrets.token_urlsafe(16)  # whoever knows it may control and end the session
            session = LiveSession(id, self._services)
        else:
            session = await self._reclaim(former) or await self._of_journal(former, address)
        peer = make(session)
        self._networks[session.id] = network_of(address)
        async with self._peers.adding(session.id, peer):
            if self._kept and len(self._peers) + len(self._kept) > self.places:
                await self._end_kept(next(iter(self._kept)))
            await peer.begin()
            if session.has_begun:
                session.peer_changed()
            else:
                session.start()
        return peer

    def check_room(self, ticket: str | None, address: str) -> None:
        """Raise ServerFull unless a new client of this address who holds `ticket` may come in now."""
        self._check_open()
        network, places = network_of(address), self.places
        self._check_share(network)
        status = self._queue.ask(ticket, places - len(self._peers), self._now(), network)
        if not status.may_enter:
            is_slow = places < self._settings.max_sessions
            reason = f"; one more would slow all below {self._settings.min_fps:g} fps" if is_slow else ""
            raise ServerFull(_full(places, reason, status), status.position)

    @property
    def num_waiting(self) -> int:
        """How many are in line."""
        return self._queue.num_present(self._now())

    def leave_queue(self, ticket: str) -> bool:
        """Whoever holds this ticket waits no more; False when nobody held it."""
        return self._queue.leave(ticket)

    async def dismiss(self, id: str, reason: str, *, may_return: bool = False) -> bool:
        """End a peer, and its session unless it may return; False when there is none of this id.

        Returns when all of it is closed.
        """
        is_found = await self._peers.dismiss(id, lambda peer: peer.hang_up(reason, may_return=may_return))
        # A peer that was being lost may have left its session behind meanwhile.
        if id in self._kept and not may_return:
            await self._end_kept(id)
            return True
        return is_found

    async def dismiss_all(self) -> None:
        """End every peer, those still being admitted too, and admit no more; returns when all are closed."""
        await self._peers.dismiss_all(
            lambda peer: peer.hang_up("the server is shutting down", may_return=False)
        )
        for id, session in list(self._kept.items()):
            session.may_go_on_elsewhere = True
            await self._end_kept(id)
        await asyncio.gather(*self._ends.values())  # whose time was up just now

    def _check_open(self) -> None:
        if self._peers.is_closing:
            raise ServerFull("the server is shutting down", why="stopping")

    def _held_by(self, network: str) -> int:
        """How many places a network has."""
        return sum(held == network for held in self._networks.values())

    def _check_share(self, network: str) -> None:
        """Raise ServerFull if this network has as many places, or offers that wait, as one may."""
        most, waiting = self._settings.max_sessions_per_address, self._settings.max_connecting_per_address
        if self._held_by(network) >= most:
            words = f"your address holds {most} places, as many as one may; try again later"
            raise ServerFull(words, why="address_full")
        mine = [id for id, held in self._networks.items() if held == network]
        peers = [peer for id in mine if (peer := self._peers.get(id)) is not None]
        if sum(not peer.is_connected for peer in peers) >= waiting:
            words = f"{waiting} offers of your address have not connected yet; try again soon"
            raise ServerFull(words, why="address_full")

    async def _reclaim(self, id: str) -> LiveSession | None:
        """The session of a lost peer, no longer kept here; None where there is none. Raises ServerFull."""
        if await self._peers.dismiss(
            id, lambda peer: peer.hang_up("its peer comes back another way", may_return=True)
        ):
            self._check_open()  # else a new peer would come in behind those that are hung up
        session = self._kept.pop(id, None)
        if session is not None:
            self._ends.pop(id).cancel()
        return session

    async def _of_journal(self, id: str, address: str) -> LiveSession:
        """A session that goes on here after another process. Raises SessionGone or ServerFull."""
        gone = SessionGone("there is no such session any more; begin a new one")
        journal = self._services.journal
        if journal is None or not SESSION_ID.fullmatch(id):
            raise gone
        try:
            data = await journal.get(id)
            record = None if data is None else await asyncio.to_thread(SessionRecord.decode, data)
        except (JournalUnavailable, RecordRejected) as error:
            session_logger(__name__, id).warning("Cannot go on here: %s", error)
            raise gone from error
        if record is None or self.find(id) is not None:  # the same client may have asked twice
            raise gone
        self.check_room(None, address)
        session_logger(__name__, id).info("goes on here, after another process")
        return LiveSession(id, self._services, record)

    async def _close(self, peer: Peer) -> None:
        """Close a peer that leaves; its session goes with it or is kept."""
        id, seconds = peer.session.id, self._settings.resume_seconds
        is_closing = peer.session.may_go_on_elsewhere = self._peers.is_closing
        network = self._networks.pop(id, "")
        if not peer.session.has_camera:
            self._queue.gave_back_unused(network, self._now())
        is_kept = peer.may_return and seconds > 0 and not is_closing and peer.session.failure is None
        try:
            await peer.close(keeps_session=is_kept)
        finally:
            if is_kept:
                session_logger(__name__, id).info("is kept for %g s, for its peer to return", seconds)
                self._kept[id] = peer.session
                self._ends[id] = asyncio.create_task(self._end_later(id, seconds))

    async def _end_later(self, id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        session_logger(__name__, id).info("ends: its peer did not return")
        session = self._kept.pop(id)
        session.end_reason = "its peer did not return"
        try:
            await session.close()
        finally:
            del self._ends[id]

    async def _end_kept(self, id: str) -> None:
        session = self._kept.pop(id)
        self._ends.pop(id).cancel()
        await session.close()


def _full(places: int, reason: str, status: QueueStatus) -> str:
    """Why there is no place, and what to do."""
    words = f"all {places} places are taken{reason}"
    if status.position is not None:
        place = f"number {status.position} of {status.waiting} in line"
        return f"{words}; you are {place}: ask again within {PRESENT_S:g} s"
    if status.waiting:
        return f"{words}, and {status.waiting} wait; try again later"
    return f"{words}; try again soon"
