"""Laws of the writer of one WebSocket: bounded, in order, limited in time."""

import asyncio

import pytest

from server.websocket.socket_writer import UNREAD_MESSAGES, SocketWriter


class Socket:
    """Takes nothing until `may_send`."""

    def __init__(self) -> None:
        self.may_send = asyncio.Event()
        self.sent: list[str | bytes] = []

    async def send_str(self, text: str) -> None:
        await self.may_send.wait()
        self.sent.append(text)

    send_bytes = send_str


@pytest.fixture
async def socket() -> Socket:
    return Socket()


@pytest.fixture
async def writer(socket) -> SocketWriter:
    return SocketWriter(socket)


async def test_messages_are_sent_in_order_those_put_meanwhile_too(socket, writer):
    writer.put("a")
    writer.put("b")
    await writer.wait()
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    writer.put("c")
    socket.may_send.set()
    await flushing
    assert socket.sent == ["a", "b", "c"] and len(writer) == 0


async def test_one_message_too_many_is_lost_and_nothing_is_sent_any_more(socket, writer):
    socket.may_send.set()
    for number in range(UNREAD_MESSAGES):
        writer.put(f"{number}")
    assert len(writer) == UNREAD_MESSAGES and not writer.is_full
    writer.put("one too many")
    assert len(writer) == UNREAD_MESSAGES and writer.is_full
    await writer.flush()
    assert socket.sent == []


async def test_wait_returns_for_each_wake_and_not_without(writer):
    waiting = asyncio.create_task(writer.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    writer.wake()
    await waiting
    again = asyncio.create_task(writer.wait())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not again.done(), "the first wake is used up"
    again.cancel()


@pytest.mark.parametrize("kind", ["text", "bytes"])
async def test_what_is_not_taken_in_time_raises(writer, monkeypatch, kind):
    monkeypatch.setattr("server.websocket.socket_writer.SEND_TIMEOUT_S", 0.01)
    writer.put("a")
    with pytest.raises(TimeoutError):
        await (writer.flush() if kind == "text" else writer.send_bytes(b"a"))
