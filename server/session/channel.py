"""Channels of a session to its clients: decoding, limits, heartbeat. Others carry the messages."""

from collections.abc import Callable, Sequence

from server.metrics import Metrics
from server.protocol.codec import MAX_MESSAGES_PER_SECOND, ProtocolError, decode, encode
from server.protocol.replies import ErrorReply, Pong, ServerMessage, Telemetry
from server.protocol.requests import ClientMessage, Command, GetStats, Ping
from server.session.command_queue import Heartbeat, RateLimit
from server.session.message_limit import MAX_BYTES_PER_SECOND, MessageLimit

MAX_CLIENTS = 8  # of one session, at once

Send = Callable[[str], None]
Detach = Callable[[], None]


class TooManyClients(Exception):
    """As many clients as allowed listen already."""


class ClientChannels:
    """Speaks the control protocol. Silent until a client is attached: a plain WHIP publisher has none."""

    def __init__(self, timeout: float, metrics: Metrics) -> None:
        self._metrics = metrics
        self._rate_limit = RateLimit(MAX_MESSAGES_PER_SECOND)  # of all who have no connection of their own
        self._timeout = timeout
        self._heartbeat = Heartbeat(timeout)
        self._clients: list[Send] = []
        self._watchers: list[Send] = []

    def attach(self, send: Send) -> Detach:
        """Send messages there too from now on; returns what ends it. Raises TooManyClients."""
        return _attached(self._clients, send)

    def attach_telemetry(self, send: Send) -> Detach:
        """Send telemetry there too from now on; returns what ends it. Raises TooManyClients."""
        return _attached(self._watchers, send)

    @property
    def is_watched(self) -> bool:
        """Whether telemetry goes anywhere."""
        return bool(self._watchers)

    def send(self, *messages: ServerMessage) -> None:
        """To all clients."""
        self._count(messages)
        for send in list(self._clients):
            for message in messages:
                send(encode(message))

    def reply(self, send: Send, *messages: ServerMessage) -> None:
        """To the one who asked."""
        self._count(messages)
        for message in messages:
            send(encode(message))

    def send_telemetry(self, telemetry: Telemetry) -> None:
        for send in list(self._watchers):
            send(encode(telemetry))

    def peer_changed(self) -> None:
        """Another connection carries the peer's messages from now on: it has promised no heartbeat yet."""
        self._heartbeat = Heartbeat(self._timeout)

    def is_lost(self, now: float) -> bool:
        """Whether a peer that used to send heartbeats has stopped."""
        return self._heartbeat.lost(now)

    def read(
        self, raw: str | bytes, now: float, *, is_peer: bool, limit: MessageLimit | None = None
    ) -> Command | GetStats | Pong | ErrorReply | None:
        """What a client asks of the session, or the answer if that needs no session; None: it gets none.

        Only the peer's own messages (`is_peer`) are signs of its life, also those beyond the limit. `limit`
        is that of the connection by which it came; None: by HTTP, and it is always answered. Never raises.
        """
        if is_peer:
            self._heartbeat.heard(now)
        if limit is not None:
            verdict = limit.judge(len(raw), now)
        else:
            verdict = "taken" if self._rate_limit.allows(now) else "refused"
        if verdict == "ignored":
            return None
        if verdict == "refused":
            expected = f"at most {MAX_MESSAGES_PER_SECOND:.0f} messages a second"
            if limit is not None:
                expected += f" and {MAX_BYTES_PER_SECOND >> 10} KiB"
            return ErrorReply(code="rate", expected=expected, message=f"ignored: expected {expected}")
        message = _decoded(raw)
        if not isinstance(message, Ping):
            return message
        if is_peer:
            self._heartbeat.pinged()
        return Pong(id=message.id)

    def _count(self, messages: Sequence[ServerMessage]) -> None:
        for message in messages:
            if isinstance(message, ErrorReply):
                self._metrics.errors.labels(message.code).inc()


def _decoded(raw: str | bytes) -> ClientMessage | ErrorReply:
    try:
        return decode(raw if isinstance(raw, str) else raw.decode())
    except UnicodeDecodeError:
        error = ProtocolError("message", f"{len(raw)} bytes that are no UTF-8", "UTF-8 text")
    except ProtocolError as problem:
        error = problem
    return ErrorReply(
        id=error.id,
        code="invalid",
        field=error.field,
        value=error.value,
        expected=error.expected,
        message=str(error),
    )


def _attached(sends: list[Send], send: Send) -> Detach:
    if len(sends) >= MAX_CLIENTS:
        raise TooManyClients(f"{MAX_CLIENTS} clients listen to this session already")
    sends.append(send)

    def detach() -> None:
        if send in sends:
            sends.remove(send)

    return detach
