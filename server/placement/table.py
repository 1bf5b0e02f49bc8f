"""Table of workers, leases and who waits: which worker serves whom. Pure: the caller tells the time."""

import itertools
import math
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from server.placement.admission import MAX_WAITING, PRESENT_S, AdmissionQueue, QueueStatus, is_ticket
from server.placement.free_places import FreePlaces, Policy
from server.placement.port import LEASE_S, SILENT_S, Lease, NoPlace, Orders, Spec, WorkerReport

# A lease that was taken up in its last moment may be told by a report as late as a worker may be.
HELD_S = LEASE_S + SILENT_S
LOST_S = 60.0  # for so long a session whose worker is lost comes before who is in line
MAX_LOST = 10_000  # sessions of which that is remembered
MAX_WORKERS = 4096
MAX_PLACES = 1024  # of one worker
MAX_SESSIONS = 2 * MAX_PLACES  # of one worker; its pace may have fallen since they came
FIRST = 1 << 30  # priority of who has lost its worker
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker as the table knows it, for operators. Counts are of sessions."""

    worker: str
    url: str
    model: str
    places: int
    taken: int  # with leases that are not taken up yet
    leased: int
    kept: int
    pace: float | None
    silent_s: float
    takes_sessions: bool
    is_draining: bool


@dataclass(slots=True)
class _Worker:
    report: WorkerReport
    epoch: str
    heard_at: float
    active: dict[str, str] = field(default_factory=dict[str, str])  # networks by session, as reported
    kept: dict[str, str] = field(default_factory=dict[str, str])
    leased: dict[str, str] = field(default_factory=dict[str, str])
    is_to_drain: bool = False

    @property
    def taken(self) -> dict[str, str]:
        """Networks of those who have a place, by session."""
        return self.leased | self.active

    @property
    def is_ending(self) -> bool:
        """Its sessions may go on elsewhere."""
        return self.is_to_drain or self.report.is_draining or not self.report.is_ready

    @property
    def takes_sessions(self) -> bool:
        """Only once it has said that it takes no lease but of this registration: others are not counted."""
        return not self.is_ending and self.report.epoch == self.epoch


@dataclass(slots=True)
class _Lease:
    worker: str
    network: str
    expires_at: float
    is_awaited: bool  # the next report that has the session active says that the lease was taken up
    is_second: bool  # another was given for the session, which may be the one that was taken up


class _Lost(NamedTuple):
    at: float
    model: str


class PlacementTable:
    """Who may come in, and to which worker.

    orders = table.report(report, now)  # of each worker, every HEARTBEAT_S
    lease = table.acquire(spec, now)    # raises NoPlace
    table.release(session, now)

    It begins empty and keeps nothing on disk. A worker gets sessions from its second report on, which says
    that leases of former registrations are void there: so no more places are given out than are free, though
    nobody knows what a table before this one has leased. The same holds for a worker that was lost or that
    restarted. `now` never goes back. Whatever is asked takes a time that does not grow with the workers.
    """

    def __init__(
        self,
        policy: Policy = "spread",
        *,
        max_per_network: int | None = None,
        max_leased_per_network: int | None = None,
        max_waiting: int = MAX_WAITING,
        silent_s: float = SILENT_S,
        why_full: Callable[[], str] = lambda: "",
        make_id: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        """`max_per_network`: places that one network may hold, None for any number, `max_leased_per_network`
        of which it may not have taken up yet; `why_full` is said of places that are all taken; `make_id`
        makes ids that cannot be guessed."""
        self._max_per_network = max_per_network
        self._max_leased_per_network = max_leased_per_network
        self._silent_s = silent_s
        self._why_full = why_full
        self._make_id = make_id
        self._all_known_at = math.inf  # who has not reported by then is lost; set with the first call
        self._nothing_ends_before = -math.inf  # no lease, no worker's silence, nothing that is remembered
        self._workers: OrderedDict[str, _Worker] = OrderedDict()  # the longest silent first
        self._leases: OrderedDict[str, _Lease] = OrderedDict()  # by session, the first to expire first
        self._leased: Counter[str] = Counter()  # leases by network
        self._where: dict[str, str] = {}  # worker by session
        self._lost: OrderedDict[str, _Lost] = OrderedDict()  # by session, oldest first
        self._held: Counter[str] = Counter()  # places by network
        self._models: Counter[str] = Counter()  # workers by model
        self._places: Counter[str] = Counter()  # by model, of workers that take sessions
        self._free = FreePlaces(policy)
        self._queue = AdmissionQueue(lambda network: self._held[network], max_waiting)

    def acquire(self, spec: Spec, now: float) -> Lease:
        """A place; its token is empty. Raises NoPlace, and ValueError for what is no session or ticket."""
        worker = self._choose(spec, now)
        waited = self._queue.waited(spec.ticket, now)
        self._queue.leave(spec.ticket)
        session = spec.session or self._make_id()
        self._lease(worker, session, spec.network, now)
        return Lease(
            worker=worker.report.worker,
            url=worker.report.url,
            token="",
            session=session,
            ttl=LEASE_S,
            start=worker.report.start,
            epoch=worker.epoch,
            waited=waited,
        )

    def check(self, spec: Spec, now: float) -> None:
        """As `acquire`, and leases nothing. Raises NoPlace and ValueError."""
        self._choose(spec, now)

    def report(self, report: WorkerReport, now: float) -> Orders:
        """What a worker says of itself, at once instead of all that was known of it.

        Raises ValueError for more workers or sessions than the table bears.
        """
        self._expire(now)
        _check(report)
        worker = self._workers.get(report.worker)
        if worker is not None and worker.report.start != report.start:
            self._forget(worker, now)  # its leases are of a process that is no more
            worker = None
        if worker is None:
            worker = self._register(report, now)
        worker.heard_at = now
        self._workers.move_to_end(report.worker)
        if report != worker.report:
            self._take_in(worker, report)
        name, sessions = report.worker, report.sessions
        elsewhere = [held.id for held in sessions if self._where.setdefault(held.id, name) != name]
        return Orders(drain=worker.is_to_drain, epoch=worker.epoch, end=tuple(elsewhere))

    def release(self, session: str, now: float, *, worker: str | None = None, was_used: bool = True) -> None:
        """The session has ended. Nothing if it is unknown, or not `worker`'s any more."""
        self._expire(now)
        name = self._where.get(session)
        if name is None or worker not in (None, name):
            return
        found = self._workers[name]
        network = (found.kept | found.taken).get(session, "")
        lease = self._leases.get(session)
        is_over = lease is None or not lease.is_second  # else somebody may still come with it
        with self._changing(found):
            for sessions in (found.active, found.kept, *([found.leased] if is_over else [])):
                sessions.pop(session, None)
            if is_over:
                self._drop_lease(session)
            # A report as the one before it would be passed over: it says that the session is there after all.
            left = tuple(held for held in found.report.sessions if held.id != session)
            found.report = replace(found.report, sessions=left)
        if is_over:
            del self._where[session]
        if not was_used:
            self._queue.gave_back_unused(network, now)

    def drain(self, worker: str) -> None:
        """It gets nobody from now on, and is told so. Raises KeyError."""
        found = self._workers[worker]
        with self._changing(found):
            found.is_to_drain = True

    def leave_queue(self, ticket: str) -> bool:
        """False when nobody held this ticket."""
        return self._queue.leave(ticket)

    def gave_back_unused(self, network: str, now: float) -> None:
        """Somebody of this network had a place and never showed a picture: others come before it."""
        self._queue.gave_back_unused(network, now)

    def num_waiting(self, now: float) -> int:
        """How many are in line."""
        return self._queue.num_present(now)

    def held_by(self, network: str) -> int:
        """How many places a network has."""
        return self._held[network]

    def workers(self, now: float) -> list[WorkerStatus]:
        """All that live, by name."""
        self._expire(now)
        return [_status(self._workers[name], now) for name in sorted(self._workers)]

    def worker_of(self, session: str) -> str | None:
        """Who has this session, or a lease for it."""
        return self._where.get(session)

    # Deciding

    def _choose(self, spec: Spec, now: float) -> _Worker:
        self._expire(now)
        if spec.ticket is not None and not is_ticket(spec.ticket):
            raise ValueError(f"ticket: expected 16 to 64 letters, digits, - or _, got {spec.ticket!r:.80}")
        model, priority = spec.model, spec.priority
        if spec.session is not None:
            if not SESSION.fullmatch(spec.session):
                raise ValueError(
                    f"session: expected 1 to 64 letters, digits, - or _, got {spec.session!r:.80}"
                )
            here = self._workers.get(self._where.get(spec.session, ""))
            if here is not None and not here.is_ending:
                return self._room_at(here, spec.session)
            lost = self._lost.get(spec.session)
            if here is not None or lost is not None:  # what it is to go on with fits its model alone
                model = here.report.model if here is not None else lost.model if lost is not None else None
                priority += FIRST
            elif now < self._all_known_at:
                raise NoPlace("not all workers have reported yet, and one may have it; ask again soon")
        if priority < FIRST:
            self._check_share(spec.network)
        if model is not None and not self._models[model] and self._workers:
            raise NoPlace(
                f"model: expected one of {', '.join(sorted(self._models))}, got {model:.80}", "no_model"
            )
        totals = self._free.totals
        status = self._queue.ask(spec.ticket, totals, now, spec.network, model=model, priority=priority)
        name = self._free.best(status.models) if status.may_enter else None
        if name is None:
            raise NoPlace(self._full(model, status), position=status.position)
        return self._workers[name]

    def _room_at(self, worker: _Worker, session: str) -> _Worker:
        """The worker that a session is on, for it to go on there. Raises NoPlace."""
        if not worker.takes_sessions:
            raise NoPlace("its worker has not reported twice yet; ask again soon")
        if session in worker.taken or worker.report.places > len(worker.taken):
            return worker
        # It is kept there, and somebody else has got its place: the worker ends it soon.
        raise NoPlace("somebody else has come in its place; ask again soon")

    def _check_share(self, network: str) -> None:
        most = self._max_per_network
        if most is not None and self._held[network] >= most:
            words = f"your address holds {most} places, as many as one may; try again later"
            raise NoPlace(words, "address_full")
        most = self._max_leased_per_network
        if most is not None and self._leased[network] >= most:
            words = f"{most} places are kept for your address, and nobody has come yet; try again soon"
            raise NoPlace(words, "address_full")

    def _full(self, model: str | None, status: QueueStatus) -> str:
        """Why there is no place, and what to do."""
        places = self._places[model] if model is not None else self._places.total()
        words = (
            f"all {places} places are taken{self._why_full()}" if places else "no worker takes anybody now"
        )
        if status.position is not None:
            place = f"number {status.position} of {status.waiting} in line"
            return f"{words}; you are {place}: ask again within {PRESENT_S:g} s"
        if status.waiting:
            return f"{words}, and {status.waiting} wait; try again later"
        return f"{words}; try again soon"

    # What is known

    @contextmanager
    def _changing(self, worker: _Worker) -> Generator[None]:
        """What is counted of a worker is taken out, and counted again after the change."""
        name, before = worker.report.worker, worker.taken
        self._free.take_out(name)
        self._count(worker, -1)
        yield
        self._count(worker, 1)
        after = worker.taken
        for change, sessions in ((-1, before.items() - after.items()), (1, after.items() - before.items())):
            for _, network in sessions:
                _add(self._held, network, change)
                self._queue.holds_changed(network)
        if worker.takes_sessions and name in self._workers:
            free = worker.report.places - len(after)
            num_kept = len(worker.kept.keys() - worker.leased.keys())
            self._free.put(name, worker.report.model, free, num_kept)

    def _count(self, worker: _Worker, change: int) -> None:
        if worker.report.worker in self._workers:
            _add(self._models, worker.report.model, change)
            if worker.takes_sessions:
                _add(self._places, worker.report.model, change * worker.report.places)

    def _register(self, report: WorkerReport, now: float) -> _Worker:
        if len(self._workers) >= MAX_WORKERS:
            raise ValueError(f"worker: expected at most {MAX_WORKERS}, got {report.worker!r:.80} beyond them")
        worker = _Worker(report, self._make_id(), now)
        with self._changing(worker):
            self._workers[report.worker] = worker
        self._take_in(worker, report)
        return worker

    def _take_in(self, worker: _Worker, report: WorkerReport) -> None:
        """Everything that a report says."""
        name, former = report.worker, worker.active.keys() | worker.kept.keys()
        with self._changing(worker):
            worker.report = report
            worker.active = {held.id: held.network for held in report.sessions if not held.is_kept}
            worker.kept = {held.id: held.network for held in report.sessions if held.is_kept}
            for session in list(worker.leased):
                lease = self._leases[session]
                if session not in worker.active:
                    lease.is_awaited = True
                elif lease.is_awaited and not lease.is_second:  # taken up: from now on reports hold the place
                    del worker.leased[session]
                    self._drop_lease(session)
        for held in report.sessions:
            other = self._where.setdefault(held.id, name)
            if other != name and not held.is_kept and self._gives_up(self._workers[other], held.id):
                self._where[held.id] = name
            if not held.is_kept:
                self._lost.pop(held.id, None)
        for session in former - worker.active.keys() - worker.kept.keys() - worker.leased.keys():
            if self._where.get(session) == name:
                del self._where[session]

    def _gives_up(self, worker: _Worker, session: str) -> bool:
        """Whether it has a session of which another worker says that it runs there."""
        return session not in worker.leased and (worker.is_ending or session in worker.kept)

    def _lease(self, worker: _Worker, session: str, network: str, now: float) -> None:
        is_active = session in worker.active
        is_second = is_active or session in self._leases
        self._end_lease(session)
        name = worker.report.worker
        with self._changing(worker):
            worker.leased[session] = network
        self._leases[session] = _Lease(name, network, now + HELD_S, not is_active, is_second)
        _add(self._leased, network, 1)
        self._where[session] = name

    def _drop_lease(self, session: str) -> _Lease | None:
        """None if there is none."""
        if (lease := self._leases.pop(session, None)) is not None:
            _add(self._leased, lease.network, -1)
        return lease

    def _end_lease(self, session: str) -> _Lease | None:
        """The lease, of a session that is not there; None if there is none."""
        if (lease := self._drop_lease(session)) is None:
            return None
        worker = self._workers[lease.worker]
        with self._changing(worker):
            del worker.leased[session]
        if session in worker.active or session in worker.kept:
            return None
        if self._where.get(session) == lease.worker:
            del self._where[session]
        return lease

    def _expire(self, now: float) -> None:
        """Leases that nobody took up, workers that are silent, sessions that were lost long ago."""
        if now < self._nothing_ends_before:
            return
        if math.isinf(self._all_known_at):
            self._all_known_at = now + (self._silent_s if math.isfinite(self._silent_s) else 0.0)
        while self._leases and self._leases[session := next(iter(self._leases))].expires_at <= now:
            if (unused := self._end_lease(session)) is not None:
                self._queue.gave_back_unused(unused.network, now)
        while self._workers:
            worker = next(iter(self._workers.values()))
            if worker.heard_at + self._silent_s >= now:
                break
            self._forget(worker, now)
        while self._lost and self._lost[session := next(iter(self._lost))].at + LOST_S < now:
            del self._lost[session]
        # What is leased, heard or lost from now on does not end sooner than this.
        ends = [now + min(self._silent_s, HELD_S, LOST_S)]
        ends += [lease.expires_at for lease in itertools.islice(self._leases.values(), 1)]
        ends += [worker.heard_at + self._silent_s for worker in itertools.islice(self._workers.values(), 1)]
        ends += [lost.at + LOST_S for lost in itertools.islice(self._lost.values(), 1)]
        self._nothing_ends_before = min(ends)

    def _forget(self, worker: _Worker, now: float) -> None:
        """It is lost: its sessions go on elsewhere."""
        name = worker.report.worker
        for session in worker.kept | worker.taken:
            if self._where.get(session) == name:
                del self._where[session]
                self._lost[session] = _Lost(now, worker.report.model)
                self._lost.move_to_end(session)
        while len(self._lost) > MAX_LOST:
            self._lost.popitem(last=False)
        for session in worker.leased:
            self._drop_lease(session)
        with self._changing(worker):
            worker.active, worker.kept, worker.leased = {}, {}, {}
            del self._workers[name]


def _add(counter: Counter[str], key: str, change: int) -> None:
    """What is not there takes no memory."""
    counter[key] += change
    if not counter[key]:
        del counter[key]


def _check(report: WorkerReport) -> None:
    """Raises ValueError for what is more than the table bears."""
    sizes = (("places", report.places, MAX_PLACES), ("sessions", len(report.sessions), MAX_SESSIONS))
    for name, size, most in sizes:
        if not 0 <= size <= most:
            raise ValueError(f"{name} of worker {report.worker!r:.80}: expected 0 to {most}, got {size}")


def _status(worker: _Worker, now: float) -> WorkerStatus:
    report = worker.report
    return WorkerStatus(
        worker=report.worker,
        url=report.url,
        model=report.model,
        places=report.places,
        taken=len(worker.taken),
        leased=len(worker.leased),
        kept=len(worker.kept),
        pace=report.pace,
        silent_s=now - worker.heard_at,
        takes_sessions=worker.takes_sessions,
        is_draining=worker.is_to_drain or report.is_draining,
    )
