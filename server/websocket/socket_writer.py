"""Writer of one WebSocket: text messages wait in a bounded queue, and every write has a time limit."""

import asyncio
from collections import deque

from aiohttp import web

UNREAD_MESSAGES = 256  # for a client that does not read: it is given up
SEND_TIMEOUT_S = 5.0


class SocketWriter:
    """`put` may be called at any time; `wait`, `flush` and `send_bytes` are for one task.

    while not writer.is_full:
        await writer.wait()
        await writer.flush()
    """

    def __init__(self, socket: web.WebSocketResponse) -> None:
        """`socket` may be prepared later, before the first `flush`."""
        self._socket = socket
        self._texts: deque[str] = deque()
        self._to_do = asyncio.Event()
        self.is_full = False  # a message found no room: the client does not read

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._texts)

    def put(self, text: str) -> None:
        """Queue a message; beyond UNREAD_MESSAGES it is lost, and `is_full`."""
        if len(self._texts) >= UNREAD_MESSAGES:
            self.is_full = True
        else:
            self._texts.append(text)
        self.wake()

    def wake(self) -> None:
        """Let `wait` return: there is something else to do."""
        self._to_do.set()

    async def wait(self) -> None:
        """Returns once `put` or `wake` has been called since the last time."""
        await self._to_do.wait()
        self._to_do.clear()

    async def flush(self) -> None:
        """Send what waits, in order. Raises TimeoutError if a message is not taken, and ConnectionError."""
        while self._texts and not self.is_full:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_str(self._texts.popleft())

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Raises as `flush` does."""
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_bytes(data)
