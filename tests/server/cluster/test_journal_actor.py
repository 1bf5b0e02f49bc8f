import pytest

from server.cluster.journal_actor import RayJournal
from server.journal.memory import MemoryJournal
from server.journal.port import JournalUnavailable
from server.journal.record import Record
from tests.server.cluster.standing_in import ActorGone, Handle, Silent

pytestmark = pytest.mark.virtual_time
RECORD = Record(moves=0, needs=("session",), given={"session": b"x"}).encode()


async def test_law_what_is_put_can_be_got_and_forgotten():
    journal = RayJournal(lambda: handle, (ActorGone,))
    handle = Handle(MemoryJournal())  # type: ignore[arg-type]
    await journal.put("one", RECORD)
    assert Record.decode(await journal.get("one") or b"").given == {"session": b"x"}
    await journal.forget("one", 0)
    assert await journal.get("one") is None


async def test_law_an_actor_that_has_ended_is_found_again_by_the_next_call():
    found: list[Handle] = []

    def find() -> Handle:
        found.append(Handle(MemoryJournal()))  # type: ignore[arg-type]
        return found[-1]

    journal = RayJournal(find, (ActorGone,))
    await journal.put("one", RECORD)
    found[0].is_alive = False
    with pytest.raises(JournalUnavailable):
        await journal.get("one")
    assert await journal.get("one") is None
    assert len(found) == 2


async def test_law_a_journal_that_says_nothing_delays_nobody_for_ever():
    with pytest.raises(JournalUnavailable):
        await RayJournal(Silent, (ActorGone,)).put("one", RECORD)
