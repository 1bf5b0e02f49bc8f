"""Who is registered, and when it is closed: with members that do as they are told."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Gauge

from server.transport.registry import Registry
from tests.server.running import PATIENCE_S, until


class Member:
    def __init__(self) -> None:
        self.hung_up, self.may_close = asyncio.Event(), asyncio.Event()
        self.closed = 0
        self.may_close.set()

    async def attend(self) -> None:
        await self.hung_up.wait()

    async def close(self) -> None:
        await self.may_close.wait()
        self.closed += 1


class Failing(Member):
    async def attend(self) -> None:
        raise RuntimeError("attend")


class Stuck(Member):
    async def close(self) -> None:
        await super().close()
        raise RuntimeError("close")


def hang_up(member: Member) -> None:
    member.hung_up.set()


async def at_once() -> None: ...


async def add(registry: Registry, key: str, member: Member, begin=at_once) -> None:
    async with registry.adding(key, member):
        await begin()


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("members", "how many", registry=CollectorRegistry())


@pytest.fixture
async def registry(gauge):
    registry: Registry[str, Member] = Registry(lambda member: member.close(), gauge)
    yield registry
    await asyncio.wait_for(registry.dismiss_all(hang_up), PATIENCE_S)


def counted(gauge: Gauge) -> int:
    return int(next(iter(gauge.collect())).samples[0].value)


async def test_a_member_is_here_until_it_has_gone_and_is_closed(registry, gauge):
    member = Member()
    await add(registry, "a", member)
    assert (registry.keys(), len(registry), counted(gauge)) == (["a"], 1, 1)
    assert registry.get("a") is member and registry.admitted("a") is member
    member.hung_up.set()
    await until(lambda: not len(registry), "it has left")
    assert member.closed == 1 and counted(gauge) == 0 and registry.get("a") is None


async def test_one_that_is_being_admitted_is_counted_but_not_admitted(registry, gauge):
    member, may_begin = Member(), asyncio.Event()
    adding = asyncio.create_task(add(registry, "a", member, may_begin.wait))
    await asyncio.sleep(0)
    assert registry.get("a") is member and registry.admitted("a") is None and counted(gauge) == 1
    assert await registry.dismiss("a", hang_up) is False
    may_begin.set()
    await adding
    assert registry.admitted("a") is member


async def test_one_that_cannot_begin_is_closed_and_was_never_here(registry, gauge):
    member = Member()

    async def fail() -> None:
        raise ValueError("begin")

    with pytest.raises(ValueError, match="begin"):
        await add(registry, "a", member, fail)
    assert member.closed == 1 and len(registry) == counted(gauge) == 0


async def test_one_whose_admission_is_cancelled_is_closed(registry):
    member = Member()
    adding = asyncio.create_task(add(registry, "a", member, asyncio.Event().wait))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    assert member.closed == 1 and not len(registry)


async def test_dismissed_it_is_closed_when_that_returns(registry):
    member, other = Member(), Member()
    await add(registry, "a", member)
    await add(registry, "b", other)
    assert await registry.dismiss("a", hang_up) is True
    assert member.closed == 1 and registry.keys() == ["b"] and not other.closed
    assert await registry.dismiss("a", hang_up) is False


@pytest.mark.parametrize("kind", [Failing, Stuck])
async def test_a_fault_of_one_leaves_nothing_behind(registry, kind):
    member = kind()
    await add(registry, "a", member)
    (task,) = registry._tasks.values()
    member.hung_up.set()
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(task, PATIENCE_S)
    assert member.closed == 1 and not len(registry)


async def test_all_are_dismissed_those_that_are_being_admitted_too(registry):
    here, comes, may_begin = Member(), Member(), asyncio.Event()
    await add(registry, "a", here)
    adding = asyncio.create_task(add(registry, "b", comes, may_begin.wait))
    await asyncio.sleep(0)
    leaving = asyncio.create_task(registry.dismiss_all(hang_up))
    await until(lambda: here.closed == 1, "the one that was here")
    assert registry.is_closing and not leaving.done()
    may_begin.set()
    await asyncio.wait_for(leaving, PATIENCE_S)
    await adding
    assert comes.closed == 1 and not len(registry)
