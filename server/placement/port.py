"""Placement port: what is asked for a place, what is leased, what workers report.

    lease = await placement.acquire(Spec(network=..., ticket=...))   # by whoever lets clients in
    orders = await placement.heartbeat(report)                       # by each worker, every HEARTBEAT_S
    await placement.release(lease.session)                           # by its worker, once the session ended
    await placement.drain(worker)                                    # by an operator

A session stays on one worker, which owns its caches. A lease that no session has taken up within its time to
live is free again; from then on the worker's reports hold the place. Nothing here is kept on disk: workers'
reports are the truth, and a placement that starts anew knows all of it after one round of them.
"""

from dataclasses import dataclass
from typing import Protocol

from server.metrics import Refusal

HEARTBEAT_S = 1.0  # between two reports of a worker
SILENT_S = 4.0  # a worker that has not reported for so long is lost
LEASE_S = 20.0  # for an offer to reach its worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What somebody asks a place for."""

    network: str = ""  # of the client's address: its places are counted together
    ticket: str | None = None  # in line; None: whoever finds no place is refused
    session: str | None = (
        None  # id of one that goes on: where it is, or wherever there is room if that is lost
    )
    model: str | None = None  # preset; None: any
    priority: int = 0  # higher ones come first in line


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A place on a worker, for one session."""

    worker: str
    url: str  # of the worker's server, without a slash at its end; empty: this process
    token: str  # shows the worker that the place is leased; empty: this process
    session: str  # id that the session has or will have
    ttl: float  # seconds
    start: str = ""  # of the worker's process
    epoch: str = ""  # of the worker's registration: a lease of another one is void
    waited: float | None = None  # seconds in line; None for who did not wait


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSession:
    """A session that a worker has, as its report names it."""

    id: str
    network: str
    is_kept: bool = False  # its peer was lost and may return: it gives way to whoever comes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """A worker, as it says itself."""

    worker: str  # id, the same after a restart
    start: str  # of this process of it, random: a lease of an earlier one is void
    url: str
    model: str
    places: int  # sessions that it can serve at once, by its measured pace
    pace: float | None = None  # pictures a second, of all sessions together; None: not measured yet
    sessions: tuple[HeldSession, ...] = ()
    is_ready: bool = True
    is_draining: bool = False
    epoch: str = ""  # of the answer to the report before: it takes leases of this one alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is told in answer to its report."""

    drain: bool = False  # let nobody in any more, end or hand over who is there, then stop
    epoch: str = ""  # of its registration; one that is new to it takes no older lease, and reports again
    end: tuple[str, ...] = ()  # sessions of it that have gone on at another worker


class NoPlace(Exception):
    """There is no place now; the text says why and what to do."""

    def __init__(self, words: str, why: Refusal = "full", position: int | None = None) -> None:
        super().__init__(words)
        self.why: Refusal = why
        self.position = position  # in line, from 1; None for who is not in it


class Placement(Protocol):
    """Who decides which worker serves whom."""

    async def acquire(self, spec: Spec) -> Lease:
        """A place, or raise NoPlace. Asking again with the ticket keeps the place in line."""
        ...

    async def heartbeat(self, report: WorkerReport) -> Orders: ...

    async def release(self, session: str, worker: str | None = None, was_used: bool = True) -> None:
        """The session has ended: its place is free at once. Unknown ones are passed over, and so is one that
        is not `worker`'s any more. Of a network that did not use its place, others come before it."""
        ...

    async def leave_queue(self, ticket: str) -> bool:
        """Whoever holds this ticket waits no more; False when nobody held it."""
        ...

    async def drain(self, worker: str) -> None:
        """Raises KeyError for one that is not known."""
        ...
