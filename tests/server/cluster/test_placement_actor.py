import asyncio
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from server.cluster import placement_actor
from server.cluster.placement_actor import TRIES, RayPlacement, existing_placement
from server.placement.port import HEARTBEAT_S, SILENT_S, HeldSession, NoPlace, Spec, WorkerReport
from tests.server.cluster.standing_in import Actor, ActorGone, Silent

pytestmark = pytest.mark.virtual_time
TICKET = "a-ticket-of-my-own"


def report(worker: str = "w", *, epoch: str = "", places: int = 1, sessions: tuple[str, ...] = ()):
    held = tuple(HeldSession(id=id, network="n") for id in sessions)
    return WorkerReport(
        worker=worker, start="s", url=f"http://{worker}", model="m", places=places, sessions=held, epoch=epoch
    )


async def heard(placement: RayPlacement, **more) -> None:
    """As a worker's first two reports are."""
    orders = await placement.heartbeat(report(**more))
    await placement.heartbeat(report(epoch=orders.epoch, **more))


@pytest.fixture
async def actor():
    return Actor(asyncio.get_running_loop().time)


async def test_law_the_port_is_the_tables(actor):
    placement = actor.client()
    await heard(placement)
    lease = await placement.acquire(Spec(network="n"))
    assert (lease.worker, lease.url) == ("w", "http://w")
    with pytest.raises(NoPlace) as full:
        await placement.acquire(Spec(network="n", ticket=TICKET))
    assert (full.value.why, full.value.position) == ("full", 1)
    assert await placement.leave_queue(TICKET)
    await placement.release(lease.session)
    assert (await placement.acquire(Spec())).worker == "w"


async def test_what_is_no_session_is_refused_in_words(actor):
    placement = actor.client()
    with pytest.raises(NoPlace, match="session: expected") as refused:
        await placement.acquire(Spec(session="../etc"))
    assert refused.value.why == "malformed"


async def test_drain_of_an_unknown_worker_is_a_key_error(actor):
    placement = actor.client()
    await heard(placement)
    with pytest.raises(KeyError, match="other"):
        await placement.drain("other")
    await placement.drain("w")
    assert (await placement.heartbeat(report())).drain


async def test_law_an_actor_that_has_ended_is_made_again_and_knows_all_after_one_round(actor):
    placement = actor.client()
    await heard(placement, places=2, sessions=("one",))
    actor.end()
    orders = await placement.heartbeat(report(places=2, sessions=("one",)))
    assert actor.num_made == 2
    with pytest.raises(NoPlace):  # what the one before had leased is not known yet
        await placement.acquire(Spec())
    await placement.heartbeat(report(places=2, sessions=("one",), epoch=orders.epoch))
    assert (await placement.worker_of("one")).worker == "w"
    await placement.acquire(Spec())
    with pytest.raises(NoPlace):
        await placement.acquire(Spec())


async def test_law_who_does_not_know_what_placement_is_made_of_makes_none(monkeypatch):
    """Else a command that comes while it has ended would leave one without the limits of its cluster."""
    ray = SimpleNamespace(get_actor=Mock(side_effect=ValueError), remote=Mock(), RayActorError=ActorGone)
    monkeypatch.setattr(placement_actor, "ray_module", lambda name="ray": ray)
    with pytest.raises(ConnectionError):
        await existing_placement().workers()
    assert ray.get_actor.call_count == TRIES
    ray.remote.assert_not_called()


async def test_law_calls_of_an_actor_that_cannot_be_had_are_bounded():
    tried = 0

    def find():
        nonlocal tried
        tried += 1
        raise ActorGone

    placement = RayPlacement(find, (ActorGone,))
    with pytest.raises(NoPlace, match="does not answer") as refused:
        await placement.acquire(Spec())
    assert refused.value.why == "stopping"
    assert tried == TRIES
    with pytest.raises(ConnectionError):
        await placement.heartbeat(report())


async def test_an_actor_that_says_nothing_is_not_waited_for_for_ever():
    with pytest.raises(ConnectionError):
        await RayPlacement(Silent, (ActorGone,)).release("one")


def test_law_what_hangs_in_ray_keeps_one_thread_and_none_that_others_use(monkeypatch):
    """A worker's pictures are coded in those: its streams are to go on."""
    monkeypatch.setattr(placement_actor, "ANSWER_S", 0.01)
    monkeypatch.setattr(placement_actor, "PAUSE_S", 0.001)
    may_find, hanging = threading.Event(), []

    def find():
        hanging.append(threading.current_thread())
        may_find.wait()

    async def ask() -> None:
        placement = RayPlacement(find, (ActorGone,))
        try:
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    await placement.release("one")
            assert len(hanging) == 1
            assert await asyncio.to_thread(threading.current_thread) not in hanging
        finally:
            may_find.set()

    asyncio.run(ask())


async def test_a_silent_worker_has_no_session_any_more(actor):
    placement = actor.client()
    await heard(placement, sessions=("one",))
    assert await placement.worker_of("one")
    await asyncio.sleep(SILENT_S + HEARTBEAT_S)
    assert await placement.worker_of("one") is None
    assert [one.is_lost for one in await placement.workers()] == [True]


async def test_who_had_a_session_is_known_after_its_end(actor):
    """Its recordings are there."""
    placement = actor.client()
    await heard(placement, sessions=("one",))
    await placement.heartbeat(report())
    assert (await placement.worker_of("one")).worker == "w"
    assert await placement.worker_of("two") is None


async def test_law_a_session_that_was_leased_elsewhere_is_not_led_back_by_a_late_report(actor):
    """Of a worker that drains, and has not ended it yet."""
    placement = actor.client()
    for worker, sessions in (("old", ("one",)), ("new", ())):
        await heard(placement, worker=worker, sessions=sessions)
    await placement.drain("old")
    assert (await placement.acquire(Spec(session="one"))).worker == "new"
    await placement.heartbeat(report("old", sessions=("one",)))
    assert (await placement.worker_of("one")).worker == "new"
