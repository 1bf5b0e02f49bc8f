"""What holds whatever order things happen in: a table of placements beside workers that act on their own."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.placement.port import LEASE_S, SILENT_S, HeldSession, Lease, NoPlace, Orders, Spec, WorkerReport
from server.placement.table import HELD_S, PlacementTable

WORKERS = ("w0", "w1", "w2")


@dataclass
class Worker:
    """A worker as it is in truth, which the table learns from reports alone."""

    name: str
    places: int
    start: int = 0
    epoch: str = ""
    sessions: dict[str, bool] = field(default_factory=dict)  # whether it is kept
    told: frozenset[str] = frozenset()  # those of the newest report that was heard
    is_alive: bool = True
    beat: WorkerReport | tuple[Orders, WorkerReport] | None = None  # that is on its way, or its answer

    def report(self) -> WorkerReport:
        held = tuple(HeldSession(id=id, network="n", is_kept=kept) for id, kept in self.sessions.items())
        return WorkerReport(
            worker=self.name,
            start=f"{self.name}-{self.start}",
            url=f"http://{self.name}",
            model="m",
            places=self.places,
            sessions=held,
            epoch=self.epoch,
        )

    def takes(self, lease: Lease) -> bool:
        """As the worker's gate has it."""
        return self.is_alive and (lease.start, lease.epoch) == (f"{self.name}-{self.start}", self.epoch)

    def num_active(self) -> int:
        return sum(not kept for kept in self.sessions.values())


class Fleet(RuleBasedStateMachine):
    """Clients, workers and the table act in any order; a message may be late or never come."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.num_ids = 0
        self.workers = {name: Worker(name, places) for name, places in zip(WORKERS, (1, 2, 3), strict=True)}
        self.leases: list[tuple[Lease, float]] = []  # given out and not taken up, with their ends
        self.ended: list[str] = []
        self.table = self.make_table("spread")

    def make_table(self, policy) -> PlacementTable:
        def make_id() -> str:
            self.num_ids += 1
            return f"id{self.num_ids}"

        return PlacementTable(policy, make_id=make_id)

    @initialize(policy=st.sampled_from(["spread", "pack"]))
    def begin(self, policy):
        self.policy = policy
        self.table = self.make_table(policy)
        for name in 2 * WORKERS:
            self.whole_heartbeat(name)

    @rule(name=st.sampled_from(WORKERS))
    def heartbeat(self, name):
        """One of three: a report is made, it comes to the table, the answer comes back."""
        worker = self.workers[name]
        if not worker.is_alive:
            return
        match worker.beat:
            case None:
                worker.beat = worker.report()
            case WorkerReport():
                worker.beat = self.table.report(worker.beat, self.now), worker.beat
            case (orders, report):
                worker.beat, worker.epoch = None, orders.epoch
                worker.told = frozenset(held.id for held in report.sessions) - set(orders.end)
                for session in orders.end:
                    worker.sessions.pop(session, None)

    def whole_heartbeat(self, name):
        self.heartbeat(name)
        while self.workers[name].is_alive and self.workers[name].beat is not None:
            self.heartbeat(name)

    @rule(seconds=st.sampled_from([1, 5, 18, 25]))
    def all_report_for_a_while(self, seconds):
        for _ in range(seconds):
            self.now += 1.0
            for name in WORKERS:
                self.whole_heartbeat(name)

    @rule(ticket=st.sampled_from([None, "a" * 16, "b" * 16, "c" * 16]))
    def come(self, ticket):
        try:
            lease = self.table.acquire(Spec(network="n", ticket=ticket), self.now)
        except NoPlace:
            return
        self.leases.append((lease, self.now + LEASE_S))

    @precondition(lambda self: self.known())
    @rule(data=st.data())
    def come_back(self, data):
        session = data.draw(st.sampled_from(self.known()))
        try:
            lease = self.table.acquire(Spec(network="n", session=session), self.now)
        except NoPlace:
            return
        assert lease.session == session
        living = {status.worker for status in self.table.workers(self.now) if status.takes_sessions}
        for other in self.workers.values():
            if other.name in living - {lease.worker} and session in other.told:
                assert session not in other.sessions, "a session on two living workers"
        self.leases.append((lease, self.now + LEASE_S))

    def known(self) -> list[str]:
        here = {session for worker in self.workers.values() for session in worker.sessions}
        return sorted(here | set(self.ended[-3:]) | {lease.session for lease, _ in self.leases})

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def take_up(self, data):
        lease, until = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        worker = self.workers[lease.worker]
        if self.now >= until or not worker.takes(lease):
            return
        is_back = lease.session in worker.sessions
        worker.sessions[lease.session] = False
        if not is_back:  # as the registry of peers does: who is kept gives way
            kept = [id for id, is_kept in worker.sessions.items() if is_kept]
            while kept and len(worker.sessions) > worker.places:
                del worker.sessions[kept.pop(0)]
        assert worker.num_active() <= worker.places, "more places than there are"

    @precondition(lambda self: any(worker.sessions for worker in self.workers.values()))
    @rule(data=st.data(), is_told=st.booleans())
    def leave(self, data, is_told):
        name, session = data.draw(
            st.sampled_from([(w.name, id) for w in self.workers.values() for id in w.sessions])
        )
        del self.workers[name].sessions[session]
        self.ended.append(session)
        if is_told:
            self.table.release(session, self.now, worker=name)

    @precondition(lambda self: self.ended)
    @rule(name=st.sampled_from(WORKERS))
    def release_of_long_ago(self, name):
        session = self.ended[-1]
        if session not in self.workers[name].sessions:
            self.table.release(session, self.now, worker=name)

    @precondition(lambda self: any(worker.sessions for worker in self.workers.values()))
    @rule(data=st.data())
    def lose_its_peer(self, data):
        name, session = data.draw(
            st.sampled_from([(w.name, id) for w in self.workers.values() for id in w.sessions])
        )
        self.workers[name].sessions[session] = True

    @rule(name=st.sampled_from(WORKERS))
    def restart(self, name):
        old = self.workers[name]
        self.workers[name] = Worker(name, old.places, old.start + 1)
        self.ended += old.sessions

    @rule(name=st.sampled_from(WORKERS), is_alive=st.booleans())
    def stop_or_go_on_reporting(self, name, is_alive):
        """A stopped one is a frozen process: what it has is there when it goes on."""
        self.workers[name].is_alive = is_alive

    @rule(name=st.sampled_from(WORKERS))
    def drain(self, name):
        try:
            self.table.drain(name)
        except KeyError:
            pass  # it is not known just now

    @rule()
    def lose_the_table(self):
        self.table = self.make_table(self.policy)

    @rule(seconds=st.sampled_from([0.5, 1.0, SILENT_S, SILENT_S + 1, LEASE_S]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def law_never_more_places_than_there_are(self):
        for worker in self.workers.values():
            assert worker.num_active() <= worker.places
            waiting = {
                lease.session
                for lease, until in self.leases
                if lease.worker == worker.name and self.now < until and worker.takes(lease)
            }
            active = {id for id, is_kept in worker.sessions.items() if not is_kept}
            assert len(waiting | active) <= worker.places, (waiting, active)

    @invariant()
    def law_what_is_counted_is_what_is_there(self):
        statuses = self.table.workers(self.now)
        assert self.table.held_by("n") == sum(status.taken for status in statuses)
        free = sum(max(0, s.places - s.taken) for s in statuses if s.takes_sessions)
        assert sum(self.table._free.totals.values()) == free

    def teardown(self):
        """Every lease ends, every silent worker is forgotten, and nothing is left behind."""
        for worker in self.workers.values():
            worker.is_alive = True
        for name in 2 * WORKERS:
            self.whole_heartbeat(name)
        here = [session for worker in self.workers.values() for session in worker.sessions]
        assert len(here) == len(set(here)), "a session on two workers that have both been heard"
        self.now += HELD_S + SILENT_S + 1000
        for worker in self.workers.values():
            worker.sessions.clear()
        for _ in range(3):
            for name in WORKERS:
                self.whole_heartbeat(name)
        assert all(status.taken == status.kept == 0 for status in self.table.workers(self.now))
        assert self.table._where == {} and not self.table._leases and not self.table._held
        assert sum(self.table._free.totals.values()) == sum(worker.places for worker in self.workers.values())
        self.now += 2 * SILENT_S
        assert self.table.workers(self.now) == [] and not self.table._free.totals
        assert not self.table._models and not self.table._places


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
