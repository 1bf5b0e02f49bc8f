"""WebSocket peer, from its handshake to its end: pictures and messages around one LiveSession."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from server.access.validity import ALWAYS, CLOSE_CODE, Validity
from server.logs import session_logger
from server.protocol.replies import ErrorReply
from server.services import Services
from server.session.broadcast import BroadcastEnded
from server.session.channel import Detach, TooManyClients
from server.session.command_queue import RateLimit
from server.session.message_limit import MessageLimit
from server.session.session import LiveSession
from server.websocket.control import TOO_MUCH, messages
from server.websocket.flow_control import CreditError
from server.websocket.media_frame import FrameError, Kind, MediaFrame, decode_frame
from server.websocket.receiver import Upload
from server.websocket.sender import Download
from server.websocket.socket_writer import SEND_TIMEOUT_S, SocketWriter

UNREAD_TELEMETRY = 4  # beyond this newer figures are worth more than all of these
WATCH_PERIOD_S = 0.5
CLOSE_TIMEOUT_S = 2.0
CODEC_REQUESTS_PER_SECOND = 5.0
MAX_REASON_BYTES = 123  # of a close frame
ENDED = WSCloseCode.OK
KEPT = 4000  # the connection is given up, the session may be taken up again


class WebSocketPeer:
    """A Peer of the registry: owns one open WebSocket and the session behind it, which may outlive it.

    Pictures come in by Upload and go out by Download; messages to the client wait in a SocketWriter.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        session: LiveSession,
        services: Services,
        validity: Validity = ALWAYS,
    ) -> None:
        self.session = session
        session.transport, session.codec = "websocket", "jpeg"
        self.may_return = True
        self.is_closed = asyncio.Event()
        self._socket = socket
        self._validity = validity
        self._writer = SocketWriter(socket)
        self._metrics = services.metrics
        self._timeout = services.settings.peer_timeout
        self._log = session_logger(__name__, session.id)
        self._now = asyncio.get_running_loop().time
        self._pictures = session.playout.broadcast.subscribe()
        self._gone = asyncio.Event()
        self._reason = ""
        self._code: int | None = None  # to close with; None: as the session's fate is
        self._detach: list[Detach] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._upload = Upload(
            keep=session.camera_frame,
            dropped=services.metrics.dropped.labels("upload").inc,
            rejected=self._complain,
            changed=self._writer.wake,
            max_fps=services.settings.max_fps,
        )
        self._limit = MessageLimit()
        self._codec_requests = RateLimit(CODEC_REQUESTS_PER_SECOND)
        self._granted = 0  # what the client knows of its credit
        self._download = Download()

    @property
    def is_connected(self) -> bool:
        """A WebSocket is from its beginning."""
        return True

    async def begin(self) -> None:
        """The socket is open already."""

    async def attend(self) -> None:
        """Serve the socket; returns when the client is gone, breaks the rules or stops its heartbeat."""
        try:
            self._detach.append(self.session.join(self._send_text))
            self._detach.append(self.session.channels.attach_telemetry(self._send_telemetry))
        except TooManyClients as error:
            return self.hang_up(str(error))
        self._writer.wake()  # the first credit
        for work in (self._read, self._upload.run, self._watch, self._write):
            task = asyncio.create_task(self._run(work))
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_PERIOD_S):
                    await self._gone.wait()
            now = self._now()
            if self.session.channels.is_lost(now):
                self.hang_up(f"no heartbeat for {self._timeout:g} s")
            elif (reason := self.session.idle_reason(now)) is not None:
                self.hang_up(reason, may_return=False)
            elif (over := self._validity.over(now)) is not None:
                self._code = CLOSE_CODE
                self.hang_up(over.reason, may_return=over.may_return)

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        """Let attend() return. `may_return` None: yes."""
        if not self._gone.is_set():
            self.may_return = self.may_return if may_return is None else may_return
            self._reason = reason
            self.session.end_reason = reason
            self._log.info("ends: %s", reason)
            self._gone.set()

    async def close(self, *, keeps_session: bool = False) -> None:
        """End session, tasks and socket. Safe to call twice."""
        self._gone.set()
        for detach in self._detach:
            detach()
        if not keeps_session:
            await self.session.close()
        self._pictures.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        code = self._code or (KEPT if keeps_session else ENDED)
        try:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._socket.close(code=code, message=close_reason(self._reason))
        finally:
            self.is_closed.set()

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except (CreditError, FrameError) as error:
            self._code = WSCloseCode.POLICY_VIOLATION
            self.hang_up(f"breaks the protocol: {error}", may_return=False)
        except TimeoutError:
            self.hang_up(f"took nothing for {SEND_TIMEOUT_S:g} s")
        except ConnectionError:
            self.hang_up("the connection was lost")

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """A bug of ours ends this peer, not the process."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("Serving the socket failed", exc_info=error)
            self._code = WSCloseCode.INTERNAL_ERROR
            self.hang_up("internal error", may_return=False)

    # From the client.

    async def _read(self) -> None:
        async for message in messages(self._socket, self._limit, self._now):
            if message.type is WSMsgType.BINARY:
                self._take(decode_frame(message.data))
            else:
                self.session.receive(message.data, self._send_text, is_peer=True, limit=self._limit)
            if self._limit.is_exceeded:
                break
        if self._limit.is_exceeded:
            self._code = WSCloseCode.POLICY_VIOLATION
            return self.hang_up(TOO_MUCH, may_return=False)
        is_over = self._socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY)
        self.hang_up("left" if is_over else "the connection was lost", may_return=not is_over)

    def _take(self, frame: MediaFrame) -> None:
        match frame.kind:
            case Kind.CREDIT:
                self._download.allow(frame.sequence)
                self._writer.wake()
            case Kind.CODEC_REQUEST:  # each costs a key frame; pictures and credit have limits of their own
                if self._codec_requests.allows(self._now()):
                    self._download.request_codec(Kind(frame.sequence))
                    self.session.codec = Kind(frame.sequence).name.lower()
                else:
                    self._refuse_codec_request()
            case Kind.JPEG | Kind.VP8:
                self._upload.take(frame)

    def _refuse_codec_request(self) -> None:
        """Like a message too many: told at times, and who goes on is cut off."""
        if self._limit.refuse(self._now()) == "refused":
            expected = f"at most {CODEC_REQUESTS_PER_SECOND:g} codec requests a second"
            error = ErrorReply(code="rate", expected=expected, message=f"ignored: expected {expected}")
            self.session.channels.reply(self._send_text, error)

    def _complain(self, words: str) -> None:
        self.session.channels.reply(self._send_text, ErrorReply(code="rejected", message=words))

    # To the client.

    async def _watch(self) -> None:
        with suppress(BroadcastEnded):
            while True:
                if self._download.put(await self._pictures.next()):
                    self._metrics.dropped.labels("download").inc()
                self._writer.wake()

    async def _write(self) -> None:
        while True:
            await self._writer.wait()
            await self._writer.flush()
            if (wanted := self._upload.codec_request) is not None:
                self._upload.codec_request = None
                await self._writer.send_bytes(MediaFrame(Kind.CODEC_REQUEST, wanted).encode())
            if self._upload.credit > self._granted:
                self._granted = self._upload.credit
                await self._writer.send_bytes(MediaFrame(Kind.CREDIT, self._granted).encode())
            if self._download.may_send:
                frame = await self._download.next(self.session.commands.output.quality)
                if frame is not None:
                    await self._writer.send_bytes(frame.encode())
                self._writer.wake()  # what has come meanwhile

    def _send_text(self, text: str) -> None:
        self._writer.put(text)
        if self._writer.is_full:
            self.hang_up("it does not read its messages", may_return=False)

    def _send_telemetry(self, text: str) -> None:
        if len(self._writer) < UNREAD_TELEMETRY:
            self._send_text(text)


def close_reason(reason: str) -> bytes:
    """As a close frame can carry it."""
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
