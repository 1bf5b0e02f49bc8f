"""One session's conversation with its peer: decoding, limits, heartbeat. The peer carries the messages."""

from collections.abc import Callable

from server.control import Heartbeat, RateLimit
from server.metrics import Metrics
from server.protocol import MAX_MESSAGES_PER_SECOND, ProtocolError, decode, encode
from server.replies import ErrorReply, Pong, ServerMessage, Telemetry
from server.requests import Command, GetStats, Ping

Send = Callable[[str], None]


class ControlLink:
    """Speaks the control protocol. Silent until a channel is attached: a plain WHIP publisher has none."""

    def __init__(self, timeout: float, metrics: Metrics) -> None:
        self._metrics = metrics
        self._rate_limit = RateLimit(MAX_MESSAGES_PER_SECOND)
        self._heartbeat = Heartbeat(timeout)
        self._send: Send | None = None
        self._send_telemetry: Send | None = None

    def attach(self, send: Send) -> None:
        """Where messages go from now on."""
        self._send = send

    def attach_telemetry(self, send: Send) -> None:
        """Where telemetry goes from now on."""
        self._send_telemetry = send

    def send(self, *messages: ServerMessage) -> None:
        for message in messages:
            if isinstance(message, ErrorReply):
                self._metrics.errors.labels(message.code).inc()
            if self._send is not None:
                self._send(encode(message))

    def send_telemetry(self, telemetry: Telemetry) -> None:
        if self._send_telemetry is not None:
            self._send_telemetry(encode(telemetry))

    def is_lost(self, now: float) -> bool:
        """Whether a peer that used to send heartbeats has stopped."""
        return self._heartbeat.lost(now)

    def receive(self, raw: str | bytes, now: float) -> Command | GetStats | None:
        """What the peer asks of the session; None if that was answered here. Nothing a peer sends raises."""
        if not self._rate_limit.allows(now):
            expected = f"at most {MAX_MESSAGES_PER_SECOND:.0f} messages a second"
            self.send(ErrorReply(code="rate", expected=expected, message=f"ignored: expected {expected}"))
            return None
        try:
            message = decode(raw)
        except ProtocolError as error:
            self._heartbeat.heard(now, is_ping=False)
            self.send(
                ErrorReply(
                    id=error.id,
                    code="invalid",
                    field=error.field,
                    value=error.value,
                    expected=error.expected,
                    message=str(error),
                )
            )
            return None
        self._heartbeat.heard(now, is_ping=isinstance(message, Ping))
        if isinstance(message, Ping):
            self.send(Pong(id=message.id))
            return None
        return message
