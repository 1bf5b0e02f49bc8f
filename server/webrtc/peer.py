"""WebRTC peer, from its offer to its end: connection, camera and data channels around one LiveSession."""

import asyncio
from collections.abc import Callable
from functools import partial

from aiortc import RTCDataChannel
from aiortc.sdp import MediaDescription, SessionDescription

from server.access.validity import ALWAYS, Validity
from server.logs import session_logger
from server.protocol.replies import ErrorReply
from server.session.channel import Detach, Send, TooManyClients
from server.session.message_limit import MessageLimit
from server.session.session import LiveSession
from server.settings import Settings
from server.webrtc.connection import WebRtcConnection
from server.webrtc.offer import Offer
from server.webrtc.trickle import Fragment

# Left alone, Chromium begins an upload at a low bitrate and shrinks the picture for it. Kilobits per second.
# No least one: a line that does not carry it would lose a part of each picture, for ever.
UPLOAD_KBPS = {
    "x-google-start-bitrate": "1500",
    "x-google-max-bitrate": "3000",
}

MAX_NEEDLESS_CHANNELS = 16  # data channels refused, or closed again: the next one ends the connection
MAX_UNREAD_CONTROL_BYTES = 1 << 20  # queued for a peer that does not read: it is given up
MAX_UNREAD_TELEMETRY_BYTES = 1 << 14  # beyond this newer figures are worth more than all of these


class WebRtcPeer:
    """A Peer of the registry: owns a connection and the session behind it, which may outlive it."""

    def __init__(
        self,
        session: LiveSession,
        settings: Settings,
        offer: Offer,
        *,
        is_back: bool = False,
        validity: Validity = ALWAYS,
    ) -> None:
        """`offer`: a publisher's. `is_back`: it takes up a session that a former peer has left."""
        self.session = session
        session.transport = "webrtc"
        self.answer = ""  # to the offer, once it has begun
        self._offer = offer
        self._is_back = is_back
        self._validity = validity
        self._is_told = False  # that it is over
        self._send: Send | None = None  # to the control channel
        self._may_return: bool | None = None  # as who hung up has said
        self._timeout = settings.peer_timeout
        self._log = session_logger(__name__, session.id)
        self._limit = MessageLimit()
        self._needless_channels = 0
        self._detach: dict[str, Detach] = {}  # by channel
        self._connection = WebRtcConnection(
            session,
            settings,
            "peer",
            receives=True,
            on_channel=self._on_channel,
            quality=lambda: session.commands.output.quality,
            reason_to_end=self._reason_to_end,
            on_flood=lambda reason: self.hang_up(reason, may_return=False),
        )

    @property
    def may_return(self) -> bool:
        """Whether the person may want to go on with the session: it has been connected, now or before."""
        if self._may_return is not None:
            return self._may_return
        return self._is_back or self._connection.was_connected

    @property
    def is_connected(self) -> bool:
        """Whether it has ever been."""
        return self._connection.was_connected

    @property
    def etag(self) -> str:
        """As WebRtcConnection.etag."""
        return self._connection.etag

    async def begin(self) -> None:
        """Accept the offer that it was made with."""
        self.answer = await self.accept(self._offer)

    async def accept(self, offer: Offer) -> str:
        """The SDP answer. Raises InvalidOffer or NoUdpPort."""
        answer = await self._connection.answer(offer)
        await asyncio.sleep(0)  # as between the pieces before
        return offer.answered(_with_upload_bitrate(answer))

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """As WebRtcConnection.add_candidates."""
        answer = await self._connection.add_candidates(fragment)
        if answer is not None:  # heartbeats may have been lost; they begin again
            self.session.channels.peer_changed()
        return answer

    async def attend(self) -> None:
        """As WebRtcConnection.attend."""
        await self._connection.attend()

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        """Let attend() return. `may_return` None: if it has been connected."""
        if not self._connection.is_over and may_return is not None:
            self._may_return = may_return
        self._connection.hang_up(reason)

    def _note_end(self) -> None:
        """For the line at the session's end."""
        self.session.end_reason = self._connection.end_reason or self.session.end_reason
        self.session.codec = self._connection.codec

    async def close(self, *, keeps_session: bool = False) -> None:
        """End session and connection. Safe to call twice, and before accept()."""
        for detach in self._detach.values():
            detach()
        self._note_end()
        if not keeps_session:
            await self.session.close()
        await self._connection.close()

    def _reason_to_end(self, now: float) -> str | None:
        if (over := self._validity.over(now)) is not None:
            if not self._is_told:  # it ends at the next look, for the words to arrive before
                self._is_told = True
                if self._send is not None:
                    error = ErrorReply(code="rejected", message=f"this connection ends: {over.reason}")
                    self.session.channels.reply(self._send, error)
                return None
            if self._may_return is None and not over.may_return:
                self._may_return = False
            return over.reason
        if self.session.channels.is_lost(now):
            return f"no heartbeat for {self._timeout:g} s"
        reason = self.session.idle_reason(now)
        if reason is not None and self._may_return is None:
            self._may_return = False
        return reason

    def _on_channel(self, channel: RTCDataChannel) -> None:
        match channel.label:
            case "control" if "control" not in self._detach:
                send = partial(self._send_control, channel)
                self._send = send
                self._attach(channel, self.session.join, send)
                channel.on("message", partial(self._receive, send))
            case "telemetry" if "telemetry" not in self._detach:
                self._attach(
                    channel, self.session.channels.attach_telemetry, partial(_send_telemetry, channel)
                )
            case label:
                self._needless_channel()
                self._log.warning(
                    "closes the data channel %r: expected control and telemetry, once each", label[:64]
                )
                channel.close()

    def _attach(self, channel: RTCDataChannel, attach: Callable[[Send], Detach], send: Send) -> None:
        try:
            self._detach[channel.label] = detach = attach(send)
        except TooManyClients as error:
            self._log.warning("%s", error)
            channel.close()
        else:
            channel.on("close", partial(self._channel_closed, channel.label, detach))

    def _channel_closed(self, label: str, detach: Detach) -> None:
        """The client may open it again."""
        detach()
        if self._detach.get(label) is detach:
            del self._detach[label]
            self._needless_channel()

    def _needless_channel(self) -> None:
        """Each costs an answer and a greeting."""
        self._needless_channels += 1
        if self._needless_channels > MAX_NEEDLESS_CHANNELS:
            self.hang_up("opened too many data channels", may_return=False)

    def _receive(self, send: Send, raw: str | bytes) -> None:
        if self._limit.is_exceeded:
            return  # the connection ends, and what is still on its way is not looked at
        self.session.receive(raw, send, is_peer=True, limit=self._limit)
        if self._limit.is_exceeded:
            self.hang_up("sends too many messages", may_return=False)

    def _send_control(self, channel: RTCDataChannel, text: str) -> None:
        if channel.readyState != "open":
            return
        if channel.bufferedAmount > MAX_UNREAD_CONTROL_BYTES:
            self.hang_up("it does not read its control channel", may_return=False)
            return
        channel.send(text)


def _send_telemetry(channel: RTCDataChannel, text: str) -> None:
    if channel.readyState == "open" and channel.bufferedAmount <= MAX_UNREAD_TELEMETRY_BYTES:
        channel.send(text)


def _with_upload_bitrate(answer: str) -> str:
    """The answer, asking Chromium for a full-sized picture; others ignore these parameters."""
    description = SessionDescription.parse(answer)
    videos: list[MediaDescription] = [media for media in description.media if media.kind == "video"]
    for codec in (codec for media in videos for codec in media.rtp.codecs):
        if codec.name.lower() != "rtx":
            codec.parameters.update(UPLOAD_KBPS)
    return str(description)
