import asyncio

from server.turns import Turns


class Line:
    """Turns on a clock that only moves when told, and what was foreseen for whom."""

    def __init__(self):
        self.time = 0.0
        self.turns = Turns(now=lambda: self.time)
        self.foreseen = {}
        self.order = []

    async def take(self, name, go):
        async with self.turns.take(self.foreseen.setdefault(name, []).append):
            self.order.append(name)
            await go.wait()

    async def one(self, seconds, foresee=lambda _: None):
        async with self.turns.take(foresee):
            self.time += seconds


async def test_turns_come_in_the_order_they_were_asked_for():
    line, go = Line(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(line.take(name, go))
        await asyncio.sleep(0)
        assert line.order == ["a"]
        assert not line.turns.is_free
        go.set()
    assert line.order == ["a", "b", "c"]
    assert line.turns.is_free


async def test_law_the_wait_is_what_is_left_of_all_turns_before():
    line, go = Line(), asyncio.Event()
    for seconds in (1.0, 9.0, 1.0):
        await line.one(seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(line.take("a", go))
        await asyncio.sleep(0)
        line.time += 0.25
        for name in "bc":
            group.create_task(line.take(name, go))
            await asyncio.sleep(0)
        go.set()
    assert line.foreseen == {"a": [0.0, 0.0], "b": [0.75, 0.0], "c": [1.75, 1.0, 0.0]}


async def test_a_turn_that_takes_longer_than_usual_may_end_at_once():
    line, go = Line(), asyncio.Event()
    await line.one(1.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(line.take("a", go))
        await asyncio.sleep(0)
        line.time += 5
        group.create_task(line.take("b", go))
        await asyncio.sleep(0)
        go.set()
    assert line.foreseen["b"] == [0.0, 0.0]


async def test_who_fails_or_gives_up_waiting_leaves_the_line():
    line, go = Line(), asyncio.Event()
    first = asyncio.create_task(line.take("a", go))
    await asyncio.sleep(0)
    second = asyncio.create_task(line.take("b", go))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert line.turns.is_free
    await asyncio.wait_for(line.one(1.0), 1)


async def test_who_takes_longer_says_so_to_all_who_wait():
    line, go = Line(), asyncio.Event()
    await line.one(1.0)
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(line.take(name, go))
            await asyncio.sleep(0)
        line.time += 0.5
        line.turns.ends_in(2.0)
        go.set()
    assert line.foreseen == {"a": [0.0, 0.0], "b": [1.0, 2.0, 0.0], "c": [2.0, 3.0, 0.75, 0.0]}
