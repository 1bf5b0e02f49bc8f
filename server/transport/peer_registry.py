"""Registry of peers: their admission, and the sessions that are kept for a lost peer to return."""

import asyncio
import hmac
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from server.access.guard import owner_mark
from server.access.roles import Need, is_met
from server.access.tokens import Grant
from server.engine.client import Phase
from server.journal.port import JournalUnavailable
from server.journal.record import SESSION_ID, RecordRejected
from server.logs import session_logger
from server.placement.lease_tokens import LeasedPlace, LeaseRefused
from server.placement.local import HERE, LocalPlacement
from server.placement.places import places_at
from server.placement.port import HeldSession, NoPlace, Spec, WorkerReport
from server.placement.table import MAX_PLACES
from server.services import Services
from server.session.session import LiveSession
from server.session.session_record import SessionRecord
from server.transport.address_limits import network_of
from server.transport.registry import Registry


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

    Places are given out by this process's own placement; or elsewhere, where services have a gate for leases.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._peers: Registry[str, Peer] = Registry(self._close, services.metrics.sessions)
        self._kept: dict[str, LiveSession] = {}  # without a peer; oldest first
        self._ends: dict[str, asyncio.Task[None]] = {}  # of those, each at its time
        self._networks: dict[str, str] = {}  # of those who are here, by session
        self._gate = services.gate
        self._local = LocalPlacement(
            self.report,
            max_per_network=self._settings.max_sessions_per_address,
            why_full=self._why_no_more,
        )

    @property
    def places(self) -> int:
        """How many may be here, by the measured pace of the model."""
        settings, pace = self._settings, self._services.engine.pace
        limits = {"min_fps": settings.min_fps, "max_fps": settings.max_fps}
        return places_at(pace, most=settings.max_sessions, **limits)

    def __len__(self) -> int:
        """How many are here; not those that may return."""
        return len(self._peers)

    @property
    def gone(self) -> int:
        """How many peers there were, and how many sessions that nobody keeps: each leaves memory."""
        return 2 * self._peers.gone - len(self._kept)

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
        place: LeasedPlace | None = None,
    ) -> AnyPeer:
        """Let in whoever `make` makes of a session: a new one, or that of a lost peer, whose id is `former`.
        Both have begun when this returns.

        `address` is the client's, whose network may hold so many places, and so many offers that have not
        connected. With a ticket, whoever finds the server full waits in line: asking again with it keeps the
        place. With a `place`, which was leased elsewhere, nobody waits: the session is the lease's, new or
        one that is here. The old connection of a session that goes on, if it is not known to be lost yet, is
        closed. Raises NoPlace, SessionGone, LeaseRefused and what the peer's `begin` does; a session that was
        to go on is not harmed.
        """
        self._check_open()
        if place is not None:
            session = await self._take_up(place, former)
        elif former is None:
            session = self._place_here(ticket, address)
        else:
            session = await self._reclaim(former)
            if session is None:
                session = await self._of_journal(former, None)
                self.check_room(None, address)
        with self._unless_here(session.id):
            peer = make(session)
        self._networks[session.id] = network_of(address) if place is None else place.network
        async with self._peers.adding(session.id, peer):
            self._local.look()
            if self._kept and len(self._peers) + len(self._kept) > self.places:
                await self._end_kept(next(iter(self._kept)))
            await peer.begin()
            if session.has_begun:
                session.peer_changed()
            else:
                session.start()
        return peer

    def check_room(self, ticket: str | None, address: str) -> None:
        """Raise NoPlace unless a new client of this address who holds `ticket` may come in now."""
        self._check_open()
        network = network_of(address)
        self._check_connecting(network)
        self._local.check(Spec(network=network, ticket=ticket))

    def held(self) -> tuple[HeldSession, ...]:
        """Every session, as a worker reports it."""
        here = [HeldSession(id=id, network=self._networks.get(id, "")) for id in self._peers.keys()]
        return *here, *(HeldSession(id=id, network="", is_kept=True) for id in self._kept)

    def report(self) -> WorkerReport:
        """Of this process as a worker; a cluster names it, its start, its address and its registration."""
        engine = self._services.engine
        return WorkerReport(
            worker=HERE,
            start="",
            url="",
            model=self._settings.model,
            places=min(self.places, MAX_PLACES),
            pace=engine.pace,
            sessions=self.held(),
            is_ready=engine.readiness.phase is Phase.READY,
        )

    @property
    def num_waiting(self) -> int:
        """How many are in line."""
        return self._local.num_waiting

    def leave_queue(self, ticket: str) -> bool:
        """Whoever holds this ticket waits no more; False when nobody held it."""
        return self._local.forget_ticket(ticket)

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
        for id in list(self._kept):
            await self._end_kept(id)
        await asyncio.gather(*self._ends.values())  # whose time was up just now

    @property
    def _sends_away(self) -> bool:
        """Whether sessions that end here may go on elsewhere: this process is about to end."""
        return self._peers.is_closing or (self._gate is not None and self._gate.is_draining)

    def _check_open(self) -> None:
        if self._peers.is_closing:
            raise NoPlace("the server is shutting down", why="stopping")

    def _check_connecting(self, network: str) -> None:
        """Raise NoPlace if as many offers of this network wait to connect as may."""
        most = self._settings.max_connecting_per_address
        mine = [id for id, held in self._networks.items() if held == network]
        peers = [peer for id in mine if (peer := self._peers.get(id)) is not None]
        if sum(not peer.is_connected for peer in peers) >= most:
            words = f"{most} offers of your address have not connected yet; try again soon"
            raise NoPlace(words, why="address_full")

    def _why_no_more(self) -> str:
        """Of places that are all taken: whether it is the model's pace that allows no more."""
        is_slow = self.places < self._settings.max_sessions
        return f"; one more would slow all below {self._settings.min_fps:g} fps" if is_slow else ""

    def _place_here(self, ticket: str | None, address: str) -> LiveSession:
        """A new session with a place that this process gives. Raises NoPlace."""
        network = network_of(address)
        self._check_connecting(network)
        lease = self._local.lease(Spec(network=network, ticket=ticket))
        if lease.waited is not None:
            self._services.metrics.admission_wait.observe(lease.waited)
        return LiveSession(lease.session, self._services)  # whoever knows its id may control and end it

    async def _take_up(self, place: LeasedPlace, former: str | None) -> LiveSession:
        """The session of a place that was leased elsewhere: new, or one that goes on. Raises NoPlace,
        SessionGone or LeaseRefused."""
        if self._gate is None:
            raise LeaseRefused("lease: this server gives out its own places; come without one")
        # What asks for a session has been looked at by its name, which belongs to somebody.
        if former != (place.session if place.goes_on else None):
            raise LeaseRefused("lease: expected the session that it is for")
        self._check_connecting(place.network)
        self._gate.take(place)
        if (session := await self._reclaim(place.session)) is not None:
            return session
        with self._unless_here(place.session):
            if len(self._peers) >= self.places:  # it has become slower since the lease was given
                raise NoPlace(f"all {self.places} places are taken{self._why_no_more()}; try again soon")
            if former is None:
                return LiveSession(place.session, self._services)
            return await self._of_journal(former, place.grant)

    @contextmanager
    def _unless_here(self, id: str) -> Generator[None]:
        """If it does not come in after all, its place is free at once."""
        is_done = False
        try:
            yield
            is_done = True
        finally:
            if not is_done:
                self._local.free(id)
                self._tell_freed(id, was_used=True)

    def _tell_freed(self, id: str, *, was_used: bool) -> None:
        """Those who gave the place, if they are elsewhere."""
        if self._gate is not None:
            self._gate.on_freed(id, was_used)

    async def _reclaim(self, id: str) -> LiveSession | None:
        """The session of a lost peer, no longer kept here; None where there is none. Raises NoPlace."""
        if await self._peers.dismiss(
            id, lambda peer: peer.hang_up("its peer comes back another way", may_return=True)
        ):
            self._check_open()  # else a new peer would come in behind those that are hung up
        session = self._kept.pop(id, None)
        if session is not None:
            self._ends.pop(id).cancel()
        return session

    async def _of_journal(self, id: str, grant: Grant | None) -> LiveSession:
        """A session that goes on here after another process, for who may have it. Raises SessionGone, and
        NoPlace where the journal may still have it."""
        gone = SessionGone("there is no such session any more; begin a new one")
        journal = self._services.journal
        if journal is None or not SESSION_ID.fullmatch(id):
            raise gone
        try:
            data = await journal.get(id)
            record = None if data is None else await asyncio.to_thread(SessionRecord.decode, data)
        except JournalUnavailable as error:
            session_logger(__name__, id).warning("Cannot go on here yet: %s", error)
            raise NoPlace("the sessions' journal does not answer; try again soon", why="stopping") from error
        except RecordRejected as error:
            session_logger(__name__, id).warning("Cannot go on here: %s", error)
            raise gone from error
        if record is None or self.find(id) is not None:  # the same client may have asked twice
            raise gone
        if not _is_owned(record, id, grant):
            session_logger(__name__, id).warning("Does not go on here: who asks has not published it")
            raise gone
        session_logger(__name__, id).info("goes on here, after another process")
        return LiveSession(id, self._services, record)

    async def _close(self, peer: Peer) -> None:
        """Close a peer that leaves; its session goes with it or is kept."""
        id, seconds = peer.session.id, self._settings.resume_seconds
        is_closing = self._peers.is_closing
        peer.session.may_go_on_elsewhere = self._sends_away
        network, was_used = self._networks.pop(id, ""), peer.session.has_camera
        if not was_used:
            self._local.gave_back_unused(network)
        is_kept = peer.may_return and seconds > 0 and not is_closing and peer.session.failure is None
        try:
            await peer.close(keeps_session=is_kept)
        finally:
            if is_kept:
                session_logger(__name__, id).info("is kept for %g s, for its peer to return", seconds)
                self._kept[id] = peer.session
                self._ends[id] = asyncio.create_task(self._end_later(id, seconds))
            else:
                self._tell_freed(id, was_used=was_used)

    async def _end_later(self, id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        session_logger(__name__, id).info("ends: its peer did not return")
        session = self._kept.pop(id)
        session.end_reason = "its peer did not return"
        try:
            await session.close()
        finally:
            del self._ends[id]
            self._tell_freed(id, was_used=True)

    async def _end_kept(self, id: str) -> None:
        session = self._kept.pop(id)
        session.may_go_on_elsewhere = self._sends_away
        self._ends.pop(id).cancel()
        try:
            await session.close()
        finally:
            self._tell_freed(id, was_used=True)


def _is_owned(record: SessionRecord, id: str, grant: Grant | None) -> bool:
    """Whether it is for this grant to go on with; this process does not know whose it was."""
    owner = record.values.owner
    if owner is None:
        return True
    if grant is None:
        return False
    name = grant.name if hmac.compare_digest(owner, owner_mark(id, grant.name)) else None
    return is_met(Need.OWN, grant, id, name)
