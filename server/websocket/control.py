"""Control protocol on a WebSocket: what the data channel carries, for clients without WebRTC."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Protocol

from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web

from server.access.validity import ALWAYS, CLOSE_CODE, Over, Validity
from server.protocol.codec import MAX_MESSAGE_BYTES
from server.session.message_limit import MessageLimit
from server.websocket.socket_writer import SocketWriter

HEARTBEAT_S = 20.0  # of the WebSocket itself; the client needs no ping messages
POLL_S = 0.5  # how soon a session's end is noticed
CLOSE_TIMEOUT_S = 1.0
KEY_BYTES = 16
TOO_MUCH = "sends too many messages"

Send = Callable[[str], None]


class Joinable(Protocol):
    """A session, as far as a socket needs it."""

    def join(self, send: Send) -> Callable[[], None]: ...

    def receive(
        self, raw: str | bytes, send: Send | None = None, *, limit: MessageLimit | None = None
    ) -> None: ...


def refuse_no_handshake(request: web.Request) -> None:
    """Raise HTTPBadRequest, in words, for what aiohttp would refuse with a header as Python writes it."""
    headers = request.headers
    try:
        key = base64.b64decode(headers.get(hdrs.SEC_WEBSOCKET_KEY, ""), validate=True)
    except ValueError:
        key = b""
    if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        expected = "Upgrade: websocket"
    elif "upgrade" not in headers.get(hdrs.CONNECTION, "").lower():
        expected = "Connection: Upgrade"
    elif headers.get(hdrs.SEC_WEBSOCKET_VERSION, "") not in ("13", "8", "7"):
        expected = "Sec-WebSocket-Version: 13"
    elif len(key) != KEY_BYTES:
        expected = f"a Sec-WebSocket-Key of {KEY_BYTES} bytes in base64"
    else:
        return
    raise web.HTTPBadRequest(text=f"this address takes a WebSocket handshake: expected {expected}")


async def serve_control(
    request: web.Request, session: Joinable, lives: Callable[[], bool], validity: Validity = ALWAYS
) -> web.WebSocketResponse:
    """Serve one socket until the client leaves, stops reading, or may no more, or the session has ended
    (`lives()` is False).

    Raises what `session.join` raises, before the request has been answered, and HTTPBadRequest.
    """
    refuse_no_handshake(request)
    socket = web.WebSocketResponse(
        timeout=CLOSE_TIMEOUT_S, heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, autoping=False
    )
    limit = MessageLimit()
    writer = SocketWriter(socket)
    is_stuck = False
    over: Over | None = None
    now = asyncio.get_running_loop().time
    send = writer.put
    leave = session.join(send)
    try:
        await socket.prepare(request)
        reading = asyncio.create_task(_read(socket, session, send, limit))
        try:
            while not reading.done() and not writer.is_full and lives() and over is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await writer.wait()
                await writer.flush()
                over = validity.over(now())
        except TimeoutError:
            is_stuck = True
        except ConnectionError:
            pass  # the client is gone
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if limit.is_exceeded:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=TOO_MUCH.encode())
        elif is_stuck or writer.is_full:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"does not read")
        elif over is not None:
            await socket.close(code=CLOSE_CODE, message=over.reason.encode())
        else:
            await socket.close(message=b"the session has ended")
        return socket
    finally:
        leave()


async def _read(socket: web.WebSocketResponse, session: Joinable, send: Send, limit: MessageLimit) -> None:
    """Hand what comes to the session until the client leaves, or sends too much."""
    now = asyncio.get_running_loop().time
    async for message in messages(socket, limit, now):
        # Binary ones are answered as on the data channel: JSON bytes are JSON.
        session.receive(message.data, send, limit=limit)
        if limit.is_exceeded:
            return


async def messages(
    socket: web.WebSocketResponse, limit: MessageLimit, now: Callable[[], float]
) -> AsyncGenerator[WSMessage]:
    """Text and binary messages of a socket made with `autoping=False`, until it closes or sends too much.

    One in each round of the loop. Pings are answered here, and count within `limit` as pongs do: aiohttp
    would answer any number of them.
    """
    async for message in socket:
        match message.type:
            case WSMsgType.PING | WSMsgType.PONG:
                limit.judge(len(message.data), now())
                if limit.is_exceeded:
                    return
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
            case WSMsgType.TEXT | WSMsgType.BINARY:
                yield message
            case _:
                pass
        await asyncio.sleep(0)  # what else has come waits: with all of it many sockets would hold the loop
