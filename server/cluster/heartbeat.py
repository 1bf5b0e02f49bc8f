"""Heartbeat of a worker: what it says of itself every second, and what it does of the answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from server.placement.port import HEARTBEAT_S, Orders, Placement, WorkerReport

logger = logging.getLogger(__name__)


class Reporting(Protocol):
    """The worker, as its heartbeat knows it."""

    def report(self) -> WorkerReport:
        """How it is now."""
        ...

    def hear(self, orders: Orders) -> bool:
        """True for a new registration: leases of former ones are void from now on."""
        ...

    async def end_elsewhere(self, sessions: tuple[str, ...]) -> None:
        """These have gone on at another worker."""
        ...

    async def drain(self) -> None:
        """Send away who is there, to go on elsewhere; returns once nobody is left."""
        ...


async def beat(
    placement: Placement, worker: Reporting, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Report until the worker has been drained. Nothing stops this: with a placement that does not answer
    streams go on, and the next report tells all; sessions that end take as long as they take."""
    draining = ending = None
    async with asyncio.TaskGroup() as tasks:
        while draining is None or not draining.done():
            try:
                orders = await placement.heartbeat(worker.report())
            except ConnectionError as error:
                logger.warning("Not reported: %s", error)
                await sleep(HEARTBEAT_S)
                continue
            is_new = worker.hear(orders)
            if orders.end and (ending is None or ending.done()):  # else the next answer says it again
                ending = tasks.create_task(worker.end_elsewhere(orders.end))
            if orders.drain and draining is None:
                draining = tasks.create_task(worker.drain())
            if not is_new:  # else at once: only then it gets sessions
                await sleep(HEARTBEAT_S)
