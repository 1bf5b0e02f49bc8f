"""Registry of connections: each has one task that attends it and closes it, whatever happens."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, Protocol, TypeVar

from prometheus_client import Gauge


class Member(Protocol):
    """Who can be registered."""

    async def attend(self) -> None:
        """Returns when it is gone."""
        ...


Key = TypeVar("Key", bound=Hashable)
AnyMember = TypeVar("AnyMember", bound=Member)


class Registry(Generic[Key, AnyMember]):
    """Everyone who is connected or is being admitted.

    async with registry.adding(key, member):
        await member.begin()
    await registry.dismiss(key, hang_up)
    await registry.dismiss_all(hang_up)

    `hang_up` lets the member's attend() return.
    """

    def __init__(self, close: Callable[[AnyMember], Awaitable[None]], count: Gauge) -> None:
        """`close` ends what a member owns; `count` is told how many there are."""
        self.is_closing = False
        self.gone = 0  # how many were here
        self._close = close
        self._count = count
        self._members: dict[Key, AnyMember] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._members)

    def keys(self) -> list[Key]:
        """Of all, those that are being admitted included."""
        return list(self._members)

    def get(self, key: Key) -> AnyMember | None:
        """Whoever has this key, being admitted or not."""
        return self._members.get(key)

    def admitted(self, key: Key) -> AnyMember | None:
        """Whoever has this key, once it has begun."""
        return self._members[key] if key in self._tasks else None

    @asynccontextmanager
    async def adding(self, key: Key, member: AnyMember) -> AsyncGenerator[None]:
        """Register a member, to let it begin within. If that fails it is closed and was never here; else it
        is attended from then on, and closed at its end."""
        self._members[key] = member
        self._is_empty.clear()
        self._count.set(len(self))
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._leave, key)
            yield
            undo.pop_all()
        self._tasks[key] = asyncio.create_task(self._attend(key))

    async def dismiss(self, key: Key, hang_up: Callable[[AnyMember], None]) -> bool:
        """End a member; returns when it is closed. False when none of this key has been admitted."""
        if (task := self._tasks.get(key)) is None:
            return False
        hang_up(self._members[key])
        await asyncio.wait([task])
        return True

    async def dismiss_all(self, hang_up: Callable[[AnyMember], None]) -> None:
        """End every member, those being admitted too; returns when all are closed. `is_closing` from now on:
        whoever adds members must look."""
        self.is_closing = True
        for member in self._members.values():
            hang_up(member)
        await self._is_empty.wait()  # not their tasks: one that is being admitted has none yet

    async def _attend(self, key: Key) -> None:
        try:
            await self._members[key].attend()
        finally:
            await self._leave(key)

    async def _leave(self, key: Key) -> None:
        try:
            await self._close(self._members[key])
        finally:
            del self._members[key]
            self._tasks.pop(key, None)
            self.gone += 1
            self._count.set(len(self))
            if not self._members:
                self._is_empty.set()
