"""Attacks on a live server: what they take for its answer, and when they need another connection."""

import asyncio

import pytest

from scripts.fuzz import attacks

HEAD = b"HTTP/1.1 416 X\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"


async def test_an_answer_is_read_with_the_body_that_comes_after_its_head():
    reader = asyncio.StreamReader()
    reader.feed_data(HEAD)
    found = asyncio.create_task(attacks.answer_of(reader))
    await asyncio.sleep(0)
    for part in (b"wor", b"ds"):
        assert not found.done()
        reader.feed_data(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await found == HEAD + b"words"


async def test_of_an_answer_that_is_cut_off_there_is_what_came():
    reader = asyncio.StreamReader()
    reader.feed_data(HEAD)
    reader.feed_eof()
    assert await attacks.answer_of(reader) == HEAD


async def test_silence_is_no_answer(monkeypatch):
    monkeypatch.setattr(attacks, "QUIET_S", 0.0)
    assert await attacks.answer_of(asyncio.StreamReader()) is None


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_connection_that_ends_leaves_the_rest_of_the_numbers_to_the_next(breaks):
    """Whether what reads it has ended, or it cannot be written to."""
    closed, sent, numbers = asyncio.Event(), [], iter(range(5))

    async def send(number: int) -> None:
        sent.append(number)
        if number == 2:
            if breaks:
                raise ConnectionError
            closed.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert await attacks.sent_all(closed.wait(), numbers, send) is False
    assert sent == [0, 1, 2]
    assert await attacks.sent_all(asyncio.Event().wait(), numbers, send) is True
    assert sent == [0, 1, 2, 3, 4]
    assert len(asyncio.all_tasks()) == 1, "nobody reads on"
