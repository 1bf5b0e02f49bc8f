"""Logouts of a whole cluster: who has logged out at one gateway is logged out at all, and at the workers.

Each process knows all of them, and so does placement, which they tell and ask. Whichever is lost, the others
have them still; where all are lost at once, so are all logins.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from server.access.validity import EndedLogins, Logouts

SHARE_S = 1.0  # so late another process may hear of a logout
BEGIN_S = 5.0  # for the first answer; until there is one no older login is good here


class LogoutPlace(Protocol):
    """Placement, as far as logouts go. Both raise ConnectionError."""

    async def logouts(self, known: str) -> Logouts | None:
        """All of them; None where their digest is `known`."""
        ...

    async def learn_logouts(self, told: Logouts) -> None: ...


class SharedLogouts:
    """async with SharedLogouts(placement, tokens.ended).kept(): ..."""

    def __init__(
        self,
        place: LogoutPlace,
        ended: EndedLogins,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._place, self._ended, self._sleep = place, ended, sleep

    async def share(self) -> None:
        """Learn what others know, and tell what they do not. Raises ConnectionError."""
        told = await self._place.logouts(self._ended.told().digest)
        if told is None:
            return
        self._ended.learn(told)
        if (known := self._ended.told()).digest != told.digest:
            await self._place.learn_logouts(known)

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Shared at once, then again and again."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await self.share()
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self) -> None:
        while True:
            await self._sleep(SHARE_S)
            with suppress(ConnectionError):  # streams and logins go on, and the next time tells all
                await self.share()
