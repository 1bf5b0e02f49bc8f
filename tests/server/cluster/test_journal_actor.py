import asyncio
import threading
from collections.abc import Callable

import pytest

from server.cluster import journal_actor
from server.cluster.journal_actor import LOOK_S, RayJournal, other_machine
from server.journal.memory import MemoryJournal
from server.journal.port import JournalUnavailable
from server.journal.record import Record
from tests.server.cluster.standing_in import ActorGone, Handle, Silent

pytestmark = pytest.mark.virtual_time


def record(content: bytes = b"x", moves: int = 0) -> bytes:
    return Record(moves=moves, needs=("session",), given={"session": content}).encode()


class Machines:
    """The journals of all machines as a process on one of them sees them."""

    def __init__(self, here: str, machines: dict[str, Handle]) -> None:
        self.here, self.machines = here, machines
        self._now = asyncio.get_running_loop().time

    def own(self) -> tuple[Handle, bool]:
        name = other_machine(list(self.machines), self.here)
        if not self.machines[name].is_alive:
            self.machines[name] = journal_handle(self._now)
        return self.machines[name], name != self.here

    def all(self) -> list[Handle]:
        return list(self.machines.values())


def journal_handle(now: Callable[[], float]) -> Handle:
    return Handle(MemoryJournal(now=now))  # type: ignore[arg-type]


class Mute:
    """Journals that say nothing."""

    def own(self) -> tuple[Silent, bool]:
        return Silent(), True

    def all(self) -> list[Silent]:
        return [Silent()]


@pytest.fixture
async def machines() -> dict[str, Handle]:
    now = asyncio.get_running_loop().time
    return {name: journal_handle(now) for name in ("a", "b", "c")}


def client(here: str, machines: dict[str, Handle]) -> RayJournal:
    return RayJournal(Machines(here, machines), (ActorGone,), asyncio.get_running_loop().time)


def kept(machines: dict[str, Handle]) -> list[str]:
    """Machines that keep a record."""
    return [name for name, handle in machines.items() if len(handle.service)]  # type: ignore[arg-type]


async def content(journal: RayJournal, session: str = "one") -> bytes | None:
    found = await journal.get(session)
    return None if found is None else Record.decode(found).given["session"]


async def test_law_what_is_put_can_be_got_and_forgotten(machines):
    journal = client("a", machines)
    await journal.put("one", record())
    assert await content(journal) == b"x"
    await journal.forget("one", 0)
    assert await journal.get("one") is None


def test_law_no_machine_keeps_its_own_records_and_each_as_many_as_others():
    machines = ["c", "a", "d", "b"]
    assert [other_machine(machines, here) for here in "abcd"] == ["b", "c", "d", "a"]
    assert other_machine(["a"], "a") == "a"
    assert other_machine([], "a") == "a"


async def test_law_whoever_goes_on_finds_the_record_wherever_it_is(machines):
    await client("a", machines).put("one", record())
    assert kept(machines) == ["b"]
    for here in machines:
        assert await content(client(here, machines)) == b"x"


async def test_law_the_record_of_a_session_that_has_moved_is_at_one_place(machines):
    await client("a", machines).put("one", record())
    second = client("b", machines)
    await second.get("one")
    await second.put("one", record(b"y", moves=1))
    assert kept(machines) == ["c"]
    await second.forget("one", 1)
    assert kept(machines) == []


async def test_the_newest_of_several_records_counts(machines):
    """As where the former journal did not answer when it was to forget."""
    await machines["a"].put.remote("one", record(b"older", moves=2))
    await asyncio.sleep(1)
    await machines["b"].put.remote("one", record(b"newest", moves=2))
    await machines["c"].put.remote("one", record(b"moved less", moves=1))
    assert await content(client("a", machines)) == b"newest"
    last = client("c", machines)
    await last.forget("one", 2)
    assert kept(machines) == []


async def test_law_a_machine_that_is_lost_takes_no_record_of_its_own_sessions(machines):
    await client("a", machines).put("one", record())
    machines["a"].is_alive = False
    with pytest.raises(ActorGone):
        await machines["a"].found.remote("one")
    assert await content(client("c", machines)) == b"x"


async def test_what_a_silent_journal_may_have_is_not_said_to_be_gone(machines):
    machines["b"].is_alive = False
    with pytest.raises(JournalUnavailable):
        await client("c", machines).get("one")


async def test_law_a_journal_that_has_ended_is_made_again_by_the_next_call(machines):
    journal = client("a", machines)
    await journal.put("one", record())
    machines["b"].is_alive = False
    with pytest.raises(JournalUnavailable):
        await journal.put("one", record())
    assert not (await journal.put("one", record())).missing
    assert kept(machines) == ["b"]


async def test_law_the_first_other_machine_gets_the_records(machines):
    alone = {"a": machines["a"]}
    journal = client("a", alone)
    await journal.put("one", record())
    assert kept(alone) == ["a"]
    alone["b"] = machines["b"]
    await asyncio.sleep(1.1 * LOOK_S)
    await journal.put("one", record())
    assert "b" in kept(alone)


async def test_an_actor_is_made_before_it_is_needed(machines):
    machines["b"].is_alive = False
    await client("a", machines).begin()
    assert machines["b"].is_alive


async def test_law_a_journal_that_says_nothing_delays_nobody_for_ever():
    journal = RayJournal(Mute(), (ActorGone,), asyncio.get_running_loop().time)
    await journal.begin()
    for call in (journal.put("one", record()), journal.get("one"), journal.forget("one", 1)):
        with pytest.raises(JournalUnavailable):
            await call


def test_law_what_hangs_in_ray_keeps_one_thread_and_none_that_others_use(monkeypatch):
    """A worker's pictures are coded in those: its streams are to go on."""
    monkeypatch.setattr(journal_actor, "ANSWER_S", 0.01)
    may_find, hanging = threading.Event(), list[threading.Thread]()

    class Hanging(Mute):
        def all(self) -> list[Silent]:
            hanging.append(threading.current_thread())
            may_find.wait()
            return []

    async def ask() -> None:
        journal = RayJournal(Hanging(), (ActorGone,), asyncio.get_running_loop().time)
        try:
            for _ in range(3):
                with pytest.raises(JournalUnavailable):
                    await journal.get("one")
            assert len(hanging) == 1
            assert await asyncio.to_thread(threading.current_thread) not in hanging
        finally:
            may_find.set()

    asyncio.run(ask())
