import asyncio

import pytest

from server.cluster.heartbeat import beat
from server.placement.port import HEARTBEAT_S, Orders
from tests.server.cluster.test_placement_actor import report

pytestmark = pytest.mark.virtual_time


class Placement:
    """Answers each report with the next of its orders, the last one for ever."""

    def __init__(self, *orders: Orders | Exception) -> None:
        self.orders = list(orders)
        self.at: list[float] = []

    async def heartbeat(self, report):
        self.at.append(asyncio.get_running_loop().time())
        orders = self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]
        if isinstance(orders, Exception):
            raise orders
        return orders


class Worker:
    def __init__(self) -> None:
        self.epoch = ""
        self.ended: list[str] = []
        self.is_drained = asyncio.Event()
        self.num_drains = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    def report(self):
        return report(epoch=self.epoch)

    def hear(self, orders):
        is_new, self.epoch = orders.epoch != self.epoch, orders.epoch
        return is_new

    async def end_elsewhere(self, sessions):
        self.ended += sessions
        await self.may_end.wait()

    async def drain(self):
        self.num_drains += 1
        await self.is_drained.wait()


async def beating(placement, worker, seconds):
    task = asyncio.create_task(beat(placement, worker))
    await asyncio.sleep(seconds)
    return task


def gaps(placement):
    return [round(b - a, 3) for a, b in zip(placement.at, placement.at[1:], strict=False)]


async def test_law_a_new_registration_is_answered_at_once():
    placement, worker = Placement(Orders(epoch="a"), Orders(epoch="a"), Orders(epoch="b")), Worker()
    task = await beating(placement, worker, 2.5 * HEARTBEAT_S)
    task.cancel()
    assert gaps(placement)[:4] == [0, HEARTBEAT_S, 0, HEARTBEAT_S]
    assert worker.epoch == "b"


async def test_law_a_placement_that_does_not_answer_stops_nothing():
    placement, worker = Placement(ConnectionError("gone"), Orders(epoch="a")), Worker()
    task = await beating(placement, worker, 3.5 * HEARTBEAT_S)
    assert not task.done()
    assert worker.epoch == "a"
    task.cancel()


async def test_sessions_that_went_on_elsewhere_end():
    placement, worker = Placement(Orders(epoch="a", end=("one",)), Orders(epoch="a")), Worker()
    task = await beating(placement, worker, HEARTBEAT_S)
    task.cancel()
    assert worker.ended == ["one"]


async def test_law_a_session_that_takes_its_time_to_end_delays_no_report():
    """Else its worker would be silent, and lost with all its sessions."""
    placement, worker = Placement(Orders(epoch="a", end=("one",))), Worker()
    worker.may_end.clear()
    task = await beating(placement, worker, 3.5 * HEARTBEAT_S)
    assert gaps(placement) == [0, HEARTBEAT_S, HEARTBEAT_S, HEARTBEAT_S]
    assert worker.ended == ["one"], "it is ended once at a time"
    worker.may_end.set()
    await asyncio.sleep(HEARTBEAT_S)
    assert worker.ended == ["one", "one"], "and again where it is still there"
    task.cancel()


async def test_law_a_worker_reports_while_it_drains_and_ends_then():
    placement, worker = Placement(Orders(epoch="a", drain=True)), Worker()
    task = await beating(placement, worker, 5.5 * HEARTBEAT_S)
    assert not task.done() and len(placement.at) >= 6
    worker.is_drained.set()
    await asyncio.wait_for(task, 2 * HEARTBEAT_S)
    assert worker.num_drains == 1
