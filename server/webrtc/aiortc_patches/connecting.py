"""Connecting tasks of aiortc: ended before their connection is closed.

aiortc 1.16 leaves them alone when it closes. Such a task finds a closed transport and ends with an
InvalidStateError that nobody retrieves, or starts a sender, a receiver and a decoder's thread that nobody
stops any more; connect() of aioice 0.13, too, goes on and starts consent checks that never end. To be
reported to both: `pc.close()` at the first "completed" of the ICE connection state, with a data channel,
shows it.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from aiortc import RTCPeerConnection

AGAIN_S = 0.1  # asyncio.wait_for of Python 3.11 loses a cancellation that comes together with its result

_connection: Any = RTCPeerConnection
_connect = _connection._RTCPeerConnection__connect
_close = _connection.close
_tasks: WeakKeyDictionary[RTCPeerConnection, set[asyncio.Task[Any]]] = WeakKeyDictionary()


async def _noted_connect(self: RTCPeerConnection) -> None:
    task = asyncio.current_task()
    assert task is not None, "aiortc connects in a task of its own"
    mine = _tasks.setdefault(self, set())
    mine.add(task)
    try:
        await _connect(self)
    finally:
        mine.discard(task)


async def _close_once_idle(self: RTCPeerConnection) -> None:
    while connecting := _tasks.get(self):
        for task in connecting:
            task.cancel()
        await asyncio.wait(list(connecting), timeout=AGAIN_S)
    await _close(self)


def end_connecting_first() -> None:
    """For all connections of this process, from now on. Safe to call again."""
    _connection._RTCPeerConnection__connect = _noted_connect
    _connection.close = _close_once_idle
