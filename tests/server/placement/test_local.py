"""Placement in one process: whoever asks at once, no more come in than there are places."""

import asyncio

import pytest

from server.placement.local import HERE, LocalPlacement
from server.placement.port import HeldSession, Lease, NoPlace, Placement, Spec, WorkerReport
from server.placement.table import HELD_S

pytestmark = pytest.mark.virtual_time


class Process:
    """This process as its placement sees it."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.sessions: list[HeldSession] = []
        self.is_ready = False  # the model may still be loading

    def report(self) -> WorkerReport:
        return WorkerReport(
            worker=HERE,
            start="",
            url="",
            model="m",
            places=self.places,
            sessions=tuple(self.sessions),
            is_ready=self.is_ready,
        )


async def test_law_however_many_ask_at_once_no_more_come_in_than_there_are_places():
    process = Process(3)
    placement: Placement = LocalPlacement(process.report)
    most = 0

    async def client(number: int) -> bool:
        nonlocal most
        ticket = f"ticket-of-client-{number:03}"
        for _ in range(200):
            try:
                lease = await placement.acquire(Spec(network=f"n{number}", ticket=ticket))
                break
            except NoPlace:
                await asyncio.sleep(2.0)
        else:
            return False
        await asyncio.sleep(0.1 * (number % 7))  # on the way to its worker
        held = HeldSession(id=lease.session, network=f"n{number}")
        process.sessions.append(held)
        most = max(most, len(process.sessions))
        await asyncio.sleep(1.0 + number % 5)
        process.sessions.remove(held)
        if number % 2:  # half of them are only seen to be gone
            await placement.release(lease.session)
        return True

    assert all(await asyncio.gather(*(client(number) for number in range(40))))
    assert most == 3


async def test_law_a_lease_that_nobody_takes_up_ends():
    process = Process(1)
    placement = LocalPlacement(process.report)
    lease = placement.lease(Spec())
    assert lease == Lease(
        worker=HERE, url="", token="", session=lease.session, ttl=lease.ttl, epoch=lease.epoch
    )
    with pytest.raises(NoPlace, match="all 1 places are taken; try again soon"):
        placement.check(Spec())
    await asyncio.sleep(HELD_S)
    placement.check(Spec())


async def test_a_session_that_came_in_is_counted_by_what_the_process_says():
    process = Process(1)
    placement = LocalPlacement(process.report)
    process.sessions = [HeldSession(id=placement.lease(Spec()).session, network="")]
    placement.look()
    process.sessions = []
    placement.lease(Spec())


async def test_places_come_and_go_with_the_pace():
    process = Process(1)
    placement = LocalPlacement(process.report, why_full=lambda: "; it is slow")
    placement.lease(Spec())
    with pytest.raises(NoPlace, match="all 1 places are taken; it is slow; you are number 1 of 1 in line"):
        placement.lease(Spec(ticket="t" * 16))
    assert placement.num_waiting == 1
    process.places = 2
    assert placement.lease(Spec(ticket="t" * 16)).waited == 0.0
    assert placement.num_waiting == 0


async def test_who_gives_up_waits_no_more():
    placement = LocalPlacement(Process(0).report)
    with pytest.raises(NoPlace):
        await placement.acquire(Spec(ticket="t" * 16))
    assert await placement.leave_queue("t" * 16) and not await placement.leave_queue("t" * 16)


async def test_a_process_that_drains_lets_nobody_in():
    placement = LocalPlacement(Process(1).report)
    await placement.drain(HERE)
    with pytest.raises(NoPlace, match="no worker takes anybody now"):
        await placement.acquire(Spec())


async def test_reports_of_others_are_refused():
    placement = LocalPlacement(Process(1).report)
    stranger = WorkerReport(worker="other", start="", url="", model="m", places=9)
    with pytest.raises(ValueError, match="worker: expected here, got 'other'"):
        await placement.heartbeat(stranger)
