"""Placement in this process, the default: the table with one worker, which is this process itself."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

from server.placement.port import Lease, Orders, Spec, WorkerReport
from server.placement.table import PlacementTable

HERE = "here"


class LocalPlacement:
    """Nothing to install and nothing to wait for: the worker is looked at before each decision.

    The port's methods, and the same ones for those who do not wait.
    """

    def __init__(
        self,
        report: Callable[[], WorkerReport],
        *,
        max_per_network: int | None = None,
        why_full: Callable[[], str] = lambda: "",
    ) -> None:
        """`report` tells of this process as it is now, under the name HERE; the others are the table's."""
        self._report = report
        self._table = PlacementTable(max_per_network=max_per_network, silent_s=math.inf, why_full=why_full)
        self._now = asyncio.get_running_loop().time
        self._epoch = ""

    def lease(self, spec: Spec) -> Lease:
        """A place. Raises NoPlace and ValueError."""
        self.look()
        return self._table.acquire(spec, self._now())

    def check(self, spec: Spec) -> None:
        """As `lease`, and leases nothing. Raises NoPlace and ValueError."""
        self.look()
        self._table.check(spec, self._now())

    def look(self) -> None:
        """Who is here: a session that came in is one from now on, and no lease any more."""
        report = self._report()
        # Whoever comes while the model loads has a place and waits for it there.
        orders = self._hear(replace(report, is_ready=True, epoch=self._epoch))
        if orders.epoch != self._epoch:
            self._epoch = orders.epoch
            self._hear(replace(report, is_ready=True, epoch=self._epoch))

    def free(self, session: str) -> None:
        """It has ended, or did not come in after all."""
        self._table.release(session, self._now())

    def gave_back_unused(self, network: str) -> None:
        """Somebody of this network had a place and never showed a picture: others come before it."""
        self._table.gave_back_unused(network, self._now())

    def forget_ticket(self, ticket: str) -> bool:
        """False when nobody held it."""
        return self._table.leave_queue(ticket)

    @property
    def num_waiting(self) -> int:
        """How many are in line."""
        return self._table.num_waiting(self._now())

    async def acquire(self, spec: Spec) -> Lease:
        return self.lease(spec)

    async def heartbeat(self, report: WorkerReport) -> Orders:
        """Raises ValueError for another worker than this process."""
        if report.worker != HERE:
            raise ValueError(f"worker: expected {HERE}, got {report.worker!r:.80}")
        return self._hear(report)

    async def release(self, session: str, worker: str | None = None, was_used: bool = True) -> None:
        self._table.release(session, self._now(), worker=worker, was_used=was_used)

    async def leave_queue(self, ticket: str) -> bool:
        return self.forget_ticket(ticket)

    async def drain(self, worker: str) -> None:
        self.look()
        self._table.drain(worker)

    def _hear(self, report: WorkerReport) -> Orders:
        return self._table.report(report, self._now())
