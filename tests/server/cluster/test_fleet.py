"""Who is there, as a gateway knows it: asked seldom, however many ask."""

import asyncio

import pytest

from server.cluster.fleet import FRESH_S, Fleet
from server.cluster.placement_service import WorkerStatus
from server.placement.port import SILENT_S
from tests.server.cluster.test_placement_actor import report

pytestmark = pytest.mark.virtual_time
ANSWER_S = 10.0


class Placement:
    """Takes its time; None: for no answer."""

    def __init__(self, *found: WorkerStatus) -> None:
        self.found: tuple[WorkerStatus, ...] | None = found
        self.num_asked = 0

    async def workers(self):
        self.num_asked += 1
        await asyncio.sleep(ANSWER_S)
        if self.found is None:
            raise ConnectionError("gone")
        return self.found


def names(found) -> list[str]:
    return [one.worker for one in found]


async def test_law_a_crowd_waits_for_one_answer_and_for_one_that_does_not_come():
    placement = Placement(WorkerStatus(report("w"), 0.0))
    fleet, now = Fleet(placement), asyncio.get_running_loop().time
    for found in (placement.found, None):
        placement.found, placement.num_asked, began = found, 0, now()
        answers = await asyncio.gather(*(fleet.workers() for _ in range(50)))
        assert all(names(answer) == ["w"] for answer in answers), "of who was known"
        assert (placement.num_asked, now() - began) == (1, ANSWER_S)
        await asyncio.sleep(2 * FRESH_S)


async def test_law_it_is_asked_again_once_the_answer_is_old():
    placement = Placement(WorkerStatus(report("w"), 0.0), WorkerStatus(report("lost"), SILENT_S + 1))
    fleet = Fleet(placement)
    assert names(await fleet.ready()) == ["w"]
    placement.found = ()
    assert (await fleet.any_ready()).worker == "w"
    await asyncio.sleep(2 * FRESH_S)
    assert await fleet.any_ready() is None and placement.num_asked == 2
