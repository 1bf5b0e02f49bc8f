import asyncio

import pytest

from server.engine.scheduler import Client, Scheduler

pytestmark = pytest.mark.virtual_time  # whoever waits in vain is told at once


class Line:
    """A scheduler on a clock that only moves when told, and what was foreseen for whom."""

    def __init__(self):
        self.time = 0.0
        self.scheduler = Scheduler(now=lambda: self.time)
        self.foreseen, self.clients = {}, {}
        self.order = []
        self.go = asyncio.Event()

    def client(self, name):
        told = self.foreseen.setdefault(name, [])
        return self.clients.setdefault(name, Client(told.append))

    async def asks(self, group, *names):
        """Each of them for a turn that lasts until `go`."""

        async def one(name):
            async with self.scheduler.take(self.client(name)):
                self.order.append(name)
                await self.go.wait()

        for name in names:
            group.create_task(one(name), name=name)
            await asyncio.sleep(0)

    async def once(self, name):
        async with self.scheduler.take(self.client(name)):
            self.order.append(name)

    async def had(self, name, *durations):
        for seconds in durations:
            async with self.scheduler.take(self.client(name)):
                self.time += seconds
        await asyncio.sleep(0)  # what is told is told soon
        self.foreseen[name].clear()


async def test_turns_come_in_the_order_they_were_asked_for():
    line = Line()
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"abc")
        assert line.order == ["a"]
        line.go.set()
    assert line.order == ["a", "b", "c"]


async def test_law_the_wait_is_what_is_left_of_all_turns_before():
    """Each session's own, as they were of late; and told anew when another turn begins."""
    line = Line()
    await line.had("a", 1.0, 9.0, 1.0)
    await line.had("b", 3.0, 3.0, 3.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "a")
        line.time += 0.25
        await line.asks(group, "b", "c")
        line.go.set()
    assert line.foreseen == {"a": [0.0, 0.0], "b": [0.75, 0.0], "c": [3.75, 3.0, 0.0]}


async def test_a_session_that_never_had_a_turn_counts_as_the_others():
    line = Line()
    await line.had("a", 2.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "new", "b")
        line.go.set()
    assert line.foreseen["b"] == [2.0, 0.0]


async def test_only_the_last_three_turns_tell_how_long_the_next_will_be():
    line = Line()
    await line.had("a", 9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0)
    await line.had("b", 5.0, 5.0, 5.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"ab")
        await line.asks(group, "new", "last")
        line.go.set()
    assert line.foreseen["b"][0] == 2.0
    assert line.foreseen["last"][0] == 2.0 + 5.0 + 5.0, "who never had one counts as the last three of all"


async def test_nothing_is_extended_when_nobody_has_a_turn():
    line = Line()
    await line.had("a", 1.0)
    line.scheduler.extend(100.0)
    await line.had("a", 1.0)
    assert list(line.clients["a"].lasted) == [1.0, 1.0]
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"ab")
        line.go.set()
    assert line.foreseen["b"] == [1.0, 0.0]


async def test_a_turn_that_was_to_be_longer_and_was_not_counts_as_none():
    """And what was said of it is not said of the next."""
    line = Line()
    async with line.scheduler.take(line.client("a")):
        line.scheduler.extend(5.0)
        line.time += 1.0
    await line.had("a", 1.0)
    assert list(line.clients["a"].lasted) == [0.0, 1.0]


@pytest.mark.parametrize(("name", "order", "wait"), [("b", "acd", 1.0 + 2.5), ("c", "abd", 1.0 + 4.0)])
async def test_who_gives_up_waiting_is_waited_for_by_nobody(name, order, wait):
    line = Line()
    await line.had("a", 1.0)
    await line.had("b", 4.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"abc")
        (waiting,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
        waiting.cancel()
        await asyncio.sleep(0)
        await line.asks(group, "d")
        line.go.set()
    assert line.order == list(order)
    assert line.foreseen["d"][0] == wait


async def test_a_turn_that_takes_longer_than_usual_may_end_at_once():
    line = Line()
    await line.had("a", 1.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "a")
        line.time += 5
        await line.asks(group, "b")
        line.go.set()
    assert line.foreseen["b"] == [0.0, 0.0]


async def test_who_takes_longer_says_so_to_all_who_wait_and_it_is_not_taken_for_usual():
    line = Line()
    await line.had("a", 1.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"abc")
        line.time += 0.5
        line.scheduler.extend(2.0)
        line.time += 2.5
        line.go.set()
    assert line.foreseen == {"a": [0.0, 0.0], "b": [1.0, 2.5, 0.0], "c": [2.0, 3.5, 1.0, 0.0]}
    assert list(line.clients["a"].lasted) == [1.0, 1.0]


async def test_who_fails_or_gives_up_waiting_leaves_the_line():
    line = Line()
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "a", "b")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
    async with asyncio.timeout(1):
        await line.had("c", 1.0)


async def test_a_session_that_cannot_take_the_news_holds_up_nobody(caplog):
    line = Line()

    def broken(_):
        raise ZeroDivisionError

    line.clients["b"] = Client(broken)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, *"abc")
        line.scheduler.extend(1.0)
        line.go.set()
    assert line.order == ["a", "b", "c"]
    assert caplog.text.count("ZeroDivisionError") >= 3, "each of its news"


async def shares(chunks, seconds=600.0):
    """How many chunks each client has had after so long, and the order; each asks again at once.

    `chunks`: the seconds of every client's.
    """
    line, order = Line(), []
    counts = dict.fromkeys(chunks, 0)

    async def play(name):
        while line.time < seconds:
            async with line.scheduler.take(line.client(name)):
                await asyncio.sleep(0)
                line.time += chunks[name]
                counts[name] += 1
                order.append(name)

    await asyncio.gather(*map(play, chunks))
    return counts, "".join(order)


async def test_law_whoever_asks_for_longer_chunks_gets_fewer_and_others_as_many_as_before():
    alike, _ = await shares({"a": 1.0, "b": 1.0})
    uneven, _ = await shares({"a": 1.0, "b": 2.0})
    assert alike == {"a": pytest.approx(300, abs=1), "b": pytest.approx(300, abs=1)}
    assert uneven == {"a": pytest.approx(alike["a"], abs=2), "b": pytest.approx(150, abs=2)}


@pytest.mark.parametrize(
    "chunks", [{"a": 0.3, "b": 1.0, "c": 2.2}, {"a": 1.0, "b": 1.4}, {"a": 5.0, "b": 0.1}]
)
async def test_law_each_has_the_device_for_the_same_time(chunks):
    counts, _ = await shares(chunks)
    times = [counts[name] * seconds for name, seconds in chunks.items()]
    assert max(times) - min(times) <= 2 * max(chunks.values())


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
async def test_law_clients_whose_chunks_take_equally_long_alternate(names):
    _, order = await shares(dict.fromkeys(names, 1.0))
    assert order.startswith(names * 100)


async def test_law_chunks_that_vary_a_little_alternate_all_the_same():
    line, order = Line(), []

    async def play(name, durations):
        for seconds in durations:
            async with line.scheduler.take(line.client(name)):
                await asyncio.sleep(0)
                line.time += seconds
                order.append(name)

    await asyncio.gather(play("a", [0.9, 0.9, 1.2] * 30), play("b", [1.2, 0.9, 0.9] * 30))
    assert "".join(order) == "ab" * 90


async def test_law_nobody_saves_up_time_by_not_asking():
    line = Line()
    await line.had("old", *[1.0] * 100)
    await line.had("new", 1.0)
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "old", "new", "old", "new")
        line.go.set()
    assert line.order == ["old", "new", "old", "new"]


async def test_law_newcomers_without_end_keep_nobody_waiting():
    line, order = Line(), []

    async def play(name, clients):
        for client in clients:
            async with line.scheduler.take(client):
                await asyncio.sleep(0)
                line.time += 1.0
                order.append(name)

    newcomers = [[Client(lambda _: None) for _ in range(50)] for _ in range(2)]
    await asyncio.gather(play("a", [line.client("a")] * 50), *(play("-", each) for each in newcomers))
    assert "".join(order).count("a", 0, 90) >= 29


async def test_who_gives_up_keeps_nobody_from_the_device():
    """Neither while it waits nor in the moment in which it gets it."""
    line = Line()

    async with line.scheduler.take(line.client("a")):
        waiting = [asyncio.create_task(line.once(name)) for name in "bcd"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(waiting[1].cancel)  # after it was told, before it can go on
    await asyncio.gather(*waiting, return_exceptions=True)
    assert line.order == ["d"]


async def test_law_who_is_cancelled_and_has_not_run_since_is_passed_over():
    """Its task has been told and takes itself off the list only when it runs, after the device is free."""
    line, loop = Line(), asyncio.get_running_loop()
    failed: list[object] = []
    loop.set_exception_handler(lambda loop, context: failed.append(context))

    async with line.scheduler.take(line.client("a")):
        waiting = [asyncio.create_task(line.once(name)) for name in "bc"]
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert line.order == ["c"] and not failed


async def test_the_device_is_free_while_nobody_has_or_wants_it_and_wanted_while_somebody_waits():
    line = Line()
    assert line.scheduler.is_free and not line.scheduler.is_wanted
    async with asyncio.TaskGroup() as group:
        await line.asks(group, "a")
        assert not line.scheduler.is_free and not line.scheduler.is_wanted
        await line.asks(group, "b")
        assert not line.scheduler.is_free and line.scheduler.is_wanted
        line.go.set()
    await asyncio.sleep(0)
    assert line.scheduler.is_free and not line.scheduler.is_wanted
