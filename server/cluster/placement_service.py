"""Service of placement for a whole cluster: the table of workers, asked from several processes.

Plain, without Ray: the actor is this class. Its state is soft. Workers report every second, so one that
starts anew knows all of them, and their sessions, after one round; until then it gives no place.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from server.access.tokens import login_number
from server.access.validity import EndedLogins, Logouts
from server.metrics import Refusal
from server.placement.port import SILENT_S, Lease, NoPlace, Orders, Spec, WorkerReport

MAX_FOLLOWED = 10_000  # sessions whose worker is remembered; they end, and their recordings do not
FORGOTTEN_S = 300.0  # a silent worker is shown for so long


class Table(Protocol):
    """What decides. Pure: the caller tells the time."""

    def acquire(self, spec: Spec, now: float) -> Lease: ...

    def report(self, report: WorkerReport, now: float) -> Orders: ...

    def release(
        self, session: str, now: float, *, worker: str | None = None, was_used: bool = True
    ) -> None: ...

    def drain(self, worker: str) -> None: ...

    def leave_queue(self, ticket: str) -> bool: ...

    def worker_of(self, session: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """NoPlace as a value, which goes from process to process whole."""

    words: str
    why: Refusal
    position: int | None

    def raised(self) -> NoPlace:
        return NoPlace(self.words, self.why, self.position)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker's newest report. `silent_s`: since it came."""

    report: WorkerReport
    silent_s: float

    @property
    def is_lost(self) -> bool:
        return self.silent_s > SILENT_S


class PlacementService:
    """The port's methods; two questions of the gateway's, who is there, and who has a session; and who has
    logged out."""

    def __init__(self, table: Table, secret: bytes = b"", now: Callable[[], float] = time.monotonic) -> None:
        """`secret`: of the cluster, for who joins it by a command."""
        self._table = table
        self._secret = secret
        self._now = now
        self._reports: dict[str, tuple[WorkerReport, float]] = {}
        self._workers: OrderedDict[str, str] = OrderedDict()  # by session, of those that have ended, too
        self._logins = EndedLogins(login_number())

    async def secret(self) -> bytes:
        return self._secret

    async def acquire(self, spec: Spec) -> Lease | Refused:
        try:
            lease = self._table.acquire(spec, self._now())
        except NoPlace as error:
            return Refused(str(error), error.why, error.position)
        except ValueError as error:
            return Refused(str(error), "malformed", None)
        self._follow(lease.session, lease.worker)
        return lease

    async def heartbeat(self, report: WorkerReport) -> Orders:
        now = self._now()
        self._reports[report.worker] = report, now
        self._reports = {id: kept for id, kept in self._reports.items() if now - kept[1] <= FORGOTTEN_S}
        orders = self._table.report(report, now)
        for held in report.sessions:  # which may have been leased elsewhere since the report was made
            self._follow(held.id, self._table.worker_of(held.id) or report.worker)
        return orders

    async def release(self, session: str, worker: str | None = None, was_used: bool = True) -> None:
        self._table.release(session, self._now(), worker=worker, was_used=was_used)

    async def leave_queue(self, ticket: str) -> bool:
        return self._table.leave_queue(ticket)

    async def drain(self, worker: str) -> bool:
        """False for one that is not known: an error does not go from process to process as it is."""
        try:
            self._table.drain(worker)
        except KeyError:
            return False
        return True

    async def forget(self, worker: str) -> None:
        """It has ended as it was told to: it is shown no more."""
        self._reports.pop(worker, None)

    async def workers(self) -> tuple[WorkerStatus, ...]:
        """Those that were heard of late, by name."""
        now = self._now()
        return tuple(WorkerStatus(report, now - at) for _, (report, at) in sorted(self._reports.items()))

    async def worker_of(self, session: str) -> WorkerReport | None:
        """The worker that has this session, or had it last, as long as it is not lost."""
        report, at = self._reports.get(self._workers.get(session, ""), (None, 0.0))
        return report if report is not None and self._now() - at <= SILENT_S else None

    async def logouts(self, known: str) -> Logouts | None:
        """Of all gateways; None for who knows them, by their digest."""
        told = self._logins.told()
        return None if told.digest == known else told

    async def learn_logouts(self, told: Logouts) -> None:
        """From a gateway or a worker, which know them still when this process has begun anew."""
        self._logins.learn(told)

    def _follow(self, session: str, worker: str) -> None:
        self._workers[session] = worker
        self._workers.move_to_end(session)
        if len(self._workers) > MAX_FOLLOWED:
            self._workers.popitem(last=False)
