"""Simulation of a fleet: GPUs, clients, failures and drains around the product's own placement table.

Nothing of placement is modelled: `PlacementTable` decides, on the simulation's clock. What is modelled is
what it hears: reports of workers every HEARTBEAT_S, and clients that ask, take up their leases, and go.
"""

import math
import random
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from server.placement.free_places import Policy
from server.placement.port import HEARTBEAT_S, HeldSession, Lease, NoPlace, Spec, WorkerReport
from server.placement.table import PlacementTable
from server.webrtc.whip import RETRY_AFTER_S

HOST_GPUS = 8
HOST_FAILS = 0.2  # share of the failures that take a whole host
HOST_REPAIR_S = 1800.0
RESTART_S = 60.0  # a process to ready: 47 to 59 s on one H200 (docs/performance.md)
NOTICE_S = {"failed": 3.0, "drained": 0.5}  # until a client asks for another place
OFFER_S = (0.1, 0.6)  # from a lease to its worker
UNREACHED_S = 1.0  # to ask again after a worker that does not answer, or refuses
VANISHING = 0.01  # share of the clients that never take up their lease
BEATS = 10  # groups of workers that report one after the other
SAMPLE_S = 30.0

Process = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. `load`: mean share of all places that would be taken if nobody ever waited."""

    gpus: int
    places: int  # of each GPU
    sessions: int
    mean_minutes: float = 12.0  # of a session; lognormal, so that few are very long
    sigma: float = 1.2  # of the logarithm
    load: float = 0.7
    swing: float = 0.6  # by how much the peak of the day is above its mean
    patience_minutes: float = 5.0  # for which somebody waits in line; exponential
    failures_per_gpu_day: float = 0.1
    drains_per_hour: float = 20.0
    line: int = 2000  # tickets at most
    policy: Policy = "spread"
    seed: int = 0

    @property
    def seconds(self) -> float:
        """One day, as long as so many sessions make such a load."""
        return self.sessions * 60 * self.mean_minutes / (self.gpus * self.places * self.load)


@dataclass(slots=True)
class Seen:
    """What has happened. Times are seconds of the simulation."""

    waits: list[float] = field(default_factory=list[float])  # of those who came in, 0 for most
    interruptions: dict[str, list[float]] = field(default_factory=lambda: {"failed": [], "drained": []})
    served: int = 0  # sessions that came in
    refused: int = 0  # found the line full
    gave_up: int = 0  # in line
    not_resumed: int = 0  # gave up after an interruption
    vanished: int = 0
    void_leases: int = 0  # that their worker did not take
    overbooked: int = 0  # sessions beyond the places of a GPU: never
    doubled: int = 0  # sessions on two living GPUs: never
    failures: int = 0  # of GPUs
    drains: int = 0
    place_s: float = 0.0  # places that were up, by time
    session_s: float = 0.0  # sessions that ran, by time
    decisions: list[float] = field(default_factory=list[float])  # of each, in seconds of a processor
    reports: int = 0
    reports_s: float = 0.0  # of all, in seconds of a processor
    samples: list[tuple[float, int, int, int]] = field(default_factory=list[tuple[float, int, int, int]])


class Gpu:
    """A worker with one GPU."""

    def __init__(self, name: str, places: int) -> None:
        self.name, self.places = name, places
        self.starts = 0
        self.epoch = ""
        self.is_up, self.is_draining = True, False
        self.sessions: dict[str, tuple[simpy.Process, str]] = {}  # with their networks
        self._report: WorkerReport | None = None

    @property
    def report(self) -> WorkerReport:
        if self._report is None:
            held = tuple(HeldSession(id=id, network=network) for id, (_, network) in self.sessions.items())
            self._report = WorkerReport(
                worker=self.name,
                start=f"{self.name}-{self.starts}",
                url=f"http://{self.name}",
                model="fast",
                places=self.places,
                sessions=held,
                is_draining=self.is_draining,
                epoch=self.epoch,
            )
        return self._report

    def changed(self) -> None:
        self._report = None

    def takes(self, lease: Lease) -> bool:
        """As LeaseGate does."""
        mine = (f"{self.name}-{self.starts}", self.epoch)
        return self.is_up and not self.is_draining and (lease.start, lease.epoch) == mine


class Fleet:
    """`Fleet(plan).run()` gives what was seen."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.seen = plan, Seen()
        self._env = simpy.Environment()
        self._random = random.Random(plan.seed)
        ids = random.Random(plan.seed + 1)
        self.table = PlacementTable(
            plan.policy,
            max_per_network=16,
            max_waiting=plan.line,
            make_id=lambda: f"{ids.getrandbits(128):032x}",
        )
        self.gpus = {f"gpu{number:05}": Gpu(f"gpu{number:05}", plan.places) for number in range(plan.gpus)}
        self._num_up, self._num_sessions = plan.gpus, 0
        self._counted_at = 0.0

    def run(self) -> Seen:
        """The whole day, to its end."""
        env, plan = self._env, self.plan
        for process in (self._heartbeats(), self._samples(), self._failures(), self._drains()):
            env.process(process)
        for number, at in enumerate(self._arrivals()):
            env.process(self._client(number, at))
        env.run(until=plan.seconds)
        self._count()
        return self.seen

    def _arrivals(self) -> list[float]:
        """Times at which clients come: few at the day's ends, most in its middle."""
        plan, found = self.plan, list[float]()
        while len(found) < plan.sessions:
            at = self._random.uniform(0, 1)
            if self._random.uniform(0, 1 + plan.swing) < 1 - plan.swing * math.cos(2 * math.pi * at):
                found.append(at * plan.seconds)
        return sorted(found)

    def _count(self) -> None:
        """Before a number of sessions or GPUs changes: what it was so long."""
        since = self._env.now - self._counted_at
        self._counted_at = self._env.now
        self.seen.place_s += since * self._num_up * self.plan.places
        self.seen.session_s += since * self._num_sessions

    # Clients

    def _client(self, number: int, at: float) -> Process:
        env, plan, rng = self._env, self.plan, self._random
        yield env.timeout(at)
        mean = math.log(60 * plan.mean_minutes) - plan.sigma**2 / 2
        left = rng.lognormvariate(mean, plan.sigma)
        network, ticket = f"net{number % (plan.sessions // 2 + 1)}", f"ticket-{number:012}"
        session, why, since = None, None, env.now
        while True:
            patience = rng.expovariate(1 / (60 * plan.patience_minutes))
            lease = yield from self._ask(Spec(network=network, ticket=ticket, session=session), patience)
            if lease is None:
                return
            if session is None and rng.random() < VANISHING:
                self.seen.vanished += 1
                return
            asked_for = env.now - since
            yield env.timeout(rng.uniform(*OFFER_S))
            gpu = self.gpus[lease.worker]
            if not gpu.takes(lease):
                self.seen.void_leases += 1
                yield env.timeout(UNREACHED_S)
                continue
            if why is None:
                self.seen.served += 1
                self.seen.waits.append(asked_for)
            else:
                self.seen.interruptions[why].append(env.now - since)
            session = lease.session
            began = env.now
            self._come_in(gpu, session, network)
            try:
                yield env.timeout(left)
            except simpy.Interrupt as interrupt:
                why, since = str(interrupt.cause), env.now
                left -= env.now - began
                yield env.timeout(NOTICE_S[why])
                continue
            self._leave(gpu, session)
            self.table.release(session, env.now, worker=gpu.name)
            return

    def _ask(self, spec: Spec, patience: float) -> Generator[simpy.Event, Any, Lease | None]:
        """A lease, sooner or later; None for who goes without one."""
        env, seen = self._env, self.seen
        until = env.now + patience
        while True:
            began = time.thread_time()
            try:
                lease, refusal = self.table.acquire(spec, env.now), None
            except NoPlace as error:
                lease, refusal = None, error
            seen.decisions.append(time.thread_time() - began)
            if lease is not None or refusal is None:
                return lease
            if spec.session is None and refusal.position is None:
                seen.refused += 1
                return None
            if env.now >= until:
                self.table.leave_queue(spec.ticket or "")
                if spec.session is None:
                    seen.gave_up += 1
                else:
                    seen.not_resumed += 1
                return None
            yield env.timeout(RETRY_AFTER_S)

    def _come_in(self, gpu: Gpu, session: str, network: str) -> None:
        self._count()
        self._num_sessions += 1
        process = self._env.active_process
        assert process is not None
        self.seen.doubled += session in gpu.sessions
        gpu.sessions[session] = process, network
        gpu.changed()
        self.seen.overbooked += len(gpu.sessions) > gpu.places

    def _leave(self, gpu: Gpu, session: str) -> None:
        self._count()
        self._num_sessions -= 1
        del gpu.sessions[session]
        gpu.changed()

    # Workers

    def _heartbeats(self) -> Process:
        gpus = list(self.gpus.values())
        groups = [gpus[first::BEATS] for first in range(BEATS)]
        while True:
            for group in groups:
                began = time.thread_time()
                for gpu in group:
                    if gpu.is_up:
                        self._beat(gpu)
                self.seen.reports_s += time.thread_time() - began
                yield self._env.timeout(HEARTBEAT_S / BEATS)

    def _beat(self, gpu: Gpu) -> None:
        self.seen.reports += 1
        orders = self.table.report(gpu.report, self._env.now)
        self.seen.doubled += len(orders.end)
        if orders.epoch != gpu.epoch:
            gpu.epoch = orders.epoch
            gpu.changed()
            self._beat(gpu)
        elif orders.drain and not gpu.is_draining:
            gpu.is_draining = True
            self._env.process(self._restart(gpu, "drained", RESTART_S))

    def _failures(self) -> Process:
        rate = self.plan.failures_per_gpu_day * self.plan.gpus / 86_400
        names = list(self.gpus)
        while rate:
            yield self._env.timeout(self._random.expovariate(rate))
            first = self._random.randrange(len(names))
            is_host = self._random.random() < HOST_FAILS / (HOST_FAILS + (1 - HOST_FAILS) * HOST_GPUS)
            if is_host:
                first -= first % HOST_GPUS
            for name in names[first : first + HOST_GPUS] if is_host else [names[first]]:
                if self.gpus[name].is_up:
                    self.seen.failures += 1
                    repair_s = HOST_REPAIR_S if is_host else RESTART_S
                    self._env.process(self._restart(self.gpus[name], "failed", repair_s))

    def _drains(self) -> Process:
        while self.plan.drains_per_hour:
            yield self._env.timeout(3600 / self.plan.drains_per_hour)
            gpu = self.gpus[self._random.choice(list(self.gpus))]
            if gpu.is_up and not gpu.is_draining:
                self.seen.drains += 1
                self.table.drain(gpu.name)

    def _restart(self, gpu: Gpu, why: str, seconds: float) -> Process:
        """Its sessions are interrupted, and it comes back as another process."""
        self._count()
        gpu.is_up = False
        self._num_up -= 1
        self._num_sessions -= len(gpu.sessions)
        for process, _ in gpu.sessions.values():
            process.interrupt(why)
        gpu.sessions.clear()
        yield self._env.timeout(seconds)
        self._count()
        self._num_up += 1
        gpu.starts += 1
        gpu.epoch, gpu.is_up, gpu.is_draining = "", True, False
        gpu.changed()

    def _samples(self) -> Process:
        while True:
            now = self._env.now
            num_places = self._num_up * self.plan.places
            self.seen.samples.append((now, self._num_sessions, num_places, self.table.num_waiting(now)))
            yield self._env.timeout(SAMPLE_S)
