"""A journal in memory: the newest record of each session, bounded in bytes and in age."""

import pytest

from server.journal.memory import MemoryJournal
from server.journal.port import PutAnswer
from server.journal.record import Record, RecordRejected


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def record(*needs: str, moves: int = 0, **given: bytes) -> bytes:
    parts = {name.replace("__", "/"): part for name, part in given.items()}
    return Record(moves, needs or tuple(parts), parts).encode()


async def got(journal: MemoryJournal, session: str) -> dict[str, bytes] | None:
    data = await journal.get(session)
    return None if data is None else dict(Record.decode(data).given)


async def test_parts_that_were_put_before_need_not_be_put_again() -> None:
    journal = MemoryJournal()
    assert await journal.put("one", record(session=b"1", latents__0=b"a", latents__1=b"b")) == PutAnswer()
    delta = record("session", "latents/1", "latents/2", session=b"2", latents__2=b"c")
    assert await journal.put("one", delta) == PutAnswer()
    assert await got(journal, "one") == {"session": b"2", "latents/1": b"b", "latents/2": b"c"}
    assert journal.num_bytes == 3


async def test_a_record_of_which_parts_are_missing_is_not_kept_and_they_are_named() -> None:
    journal = MemoryJournal()
    delta = record("session", "latents/1", session=b"2")
    assert await journal.put("one", delta) == PutAnswer(missing=("latents/1",))
    assert await journal.get("one") is None
    await journal.put("one", record(session=b"1"))
    assert await journal.put("one", delta) == PutAnswer(missing=("latents/1",))
    assert await got(journal, "one") == {"session": b"1"}


async def test_sessions_do_not_see_each_other() -> None:
    journal = MemoryJournal()
    await journal.put("one", record(session=b"1", latents__0=b"a"))
    answer = await journal.put("other", record("session", "latents/0", session=b"2"))
    assert answer.missing == ("latents/0",)
    await journal.forget("one", 0)
    assert await journal.get("one") is None and len(journal) == journal.num_bytes == 0


async def test_who_has_lost_its_session_to_another_process_neither_writes_nor_forgets_it() -> None:
    journal = MemoryJournal()
    await journal.put("one", record(session=b"0"))
    await journal.put("one", record(session=b"1", moves=1))
    assert await journal.put("one", record(session=b"2")) == PutAnswer(is_stale=True)
    await journal.forget("one", 0)
    assert await got(journal, "one") == {"session": b"1"}
    await journal.forget("one", 1)
    assert await journal.get("one") is None


async def test_when_there_is_no_room_the_record_put_longest_ago_gives_way() -> None:
    journal = MemoryJournal(max_bytes=10)
    for session in ("one", "two", "one", "three"):
        await journal.put(session, record(session=session.encode()))
    assert journal.num_bytes <= 10 and journal.dropped == 1
    assert [await journal.get(session) is not None for session in ("one", "two", "three")] == [
        True,
        False,
        True,
    ]
    with pytest.raises(RecordRejected, match="at most 10 bytes, got 11"):
        await journal.put("four", record(session=bytes(11)))
    assert len(journal) == 2


async def test_what_just_fits_is_kept() -> None:
    journal = MemoryJournal(max_bytes=10)
    for session in ("one", "two"):
        await journal.put(session, record(session=bytes(5)))
    assert (len(journal), journal.num_bytes, journal.dropped) == (2, 10, 0)
    assert await journal.put("three", record(session=bytes(10))) == PutAnswer()
    assert (len(journal), journal.num_bytes, journal.dropped) == (1, 10, 2)


async def test_there_is_nothing_to_forget_of_a_session_that_is_not_there() -> None:
    """It may have given way, or the journal begun anew; who ends it does not know."""
    await MemoryJournal().forget("one", 0)


async def test_a_record_is_forgotten_when_nothing_has_come_of_its_session_for_long() -> None:
    clock = Clock()
    journal = MemoryJournal(max_age=5, now=clock)
    await journal.put("one", record(session=b"1"))
    clock.time = 4
    await journal.put("two", record(session=b"2"))
    clock.time = 6
    assert await journal.get("one") is None and await journal.get("two") is not None
    assert journal.num_bytes == 1


@pytest.mark.parametrize("session", ["", "a b", "../x", "x" * 65])
async def test_ids_that_are_none_are_refused(session: str) -> None:
    journal = MemoryJournal()
    for work in (journal.put(session, record(session=b"")), journal.get(session), journal.forget(session, 0)):
        with pytest.raises(RecordRejected, match="session: expected an id"):
            await work
