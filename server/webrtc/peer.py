"""WebRTC peer, from its offer to its end: connection, camera and data channels around one LiveSession."""

from collections.abc import Callable
from functools import partial

from aiortc import MediaStreamTrack, RTCDataChannel
from aiortc.sdp import MediaDescription, SessionDescription

from server.protocol.requests import Quality
from server.session.channel import Detach, Send, TooManyClients
from server.session.session import LiveSession
from server.settings import Settings
from server.webrtc.connection import InvalidOffer, WebRtcConnection, video_directions
from server.webrtc.trickle import Fragment

# Left alone, Chromium begins an upload at a low bitrate and shrinks the picture for it. Kilobits per second.
UPLOAD_KBPS = {
    "x-google-min-bitrate": "750",
    "x-google-start-bitrate": "1500",
    "x-google-max-bitrate": "3000",
}

MAX_UNREAD_CONTROL_BYTES = 1 << 20  # queued for a peer that does not read: it is given up
MAX_UNREAD_TELEMETRY_BYTES = 1 << 14  # beyond this newer figures are worth more than all of these


class WebRtcPeer(WebRtcConnection):
    """A connection and the session behind it, which may outlive it: `close` ends the session too, unless
    `may_return` and it is to be kept."""

    def __init__(
        self, session: LiveSession, settings: Settings, offer: str, *, is_back: bool = False
    ) -> None:
        """`offer`: its SDP. `is_back`: it takes up a session that a former peer has left."""
        super().__init__(session, settings, "peer")
        self.session = session
        self.may_return = is_back  # the person may want to go on with the session
        self.answer = ""  # to the offer, once it has begun
        self._offer = offer
        self._detach: dict[str, Detach] = {}  # by channel
        self._has_camera = False

    async def begin(self) -> None:
        """Accept the offer that it was made with."""
        self.answer = await self.accept(self._offer)

    async def accept(self, offer: str) -> str:
        """The SDP answer to an SDP offer. Raises InvalidOffer or NoUdpPort."""
        check_offer(offer)
        return _with_upload_bitrate(await self._answer(offer, receives=True))

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """As WebRtcConnection.add_candidates."""
        answer = await super().add_candidates(fragment)
        if answer is not None:  # heartbeats may have been lost; they begin again
            self.session.channels.peer_changed()
        return answer

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        """Let attend() return. `may_return` None: if it has been connected."""
        if not self._gone.is_set() and may_return is not None:
            self.may_return = may_return
        super().hang_up(reason)

    async def close(self, *, keeps_session: bool = False) -> None:
        """End session and connection. Safe to call twice, and before accept()."""
        self._gone.set()
        for detach in self._detach.values():
            detach()
        if not keeps_session:
            await self.session.close()
        await super().close()

    @property
    def quality(self) -> Quality:
        return self.session.commands.output.quality

    def _reason_to_end(self, now: float) -> str | None:
        if self.session.channels.is_lost(now):
            return f"no heartbeat for {self._settings.peer_timeout:g} s"
        return None

    def _on_connection_state(self) -> None:
        if self._pc.connectionState == "connected":
            self.may_return = True
        super()._on_connection_state()

    def _on_track(self, track: MediaStreamTrack) -> None:
        """Only the first video track is the camera, audio is dropped."""
        if track.kind == "video" and not self._has_camera:
            self._has_camera = True
            self._pump(track, self.session.camera_frame)
        else:
            self._pump(track)

    def _on_datachannel(self, channel: RTCDataChannel) -> None:
        match channel.label:
            case "control" if "control" not in self._detach:
                send = partial(self._send_control, channel)
                self._attach(channel, self.session.join, send)
                channel.on("message", partial(self.session.receive, send=send, is_peer=True))
            case "telemetry" if "telemetry" not in self._detach:
                self._attach(
                    channel, self.session.channels.attach_telemetry, partial(_send_telemetry, channel)
                )
            case label:
                self._log.warning(
                    "closes the data channel %r: expected control and telemetry, once each", label[:64]
                )
                channel.close()

    def _attach(self, channel: RTCDataChannel, attach: Callable[[Send], Detach], send: Send) -> None:
        try:
            self._detach[channel.label] = attach(send)
        except TooManyClients as error:
            self._log.warning("%s", error)
            channel.close()

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


def check_offer(offer: str) -> None:
    """Raise InvalidOffer unless this is SDP with a video track that the peer sends."""
    directions = video_directions(offer)
    if not directions:
        raise InvalidOffer("the offer has no video: expected one video track, sendrecv or sendonly")
    if not {"sendrecv", "sendonly"} & set(directions):
        raise InvalidOffer(
            f"the offer sends no video ({', '.join(directions)}): expected sendrecv or sendonly"
        )


def _with_upload_bitrate(answer: str) -> str:
    """The answer, asking Chromium for a full-sized picture; others ignore these parameters."""
    description = SessionDescription.parse(answer)
    videos: list[MediaDescription] = [media for media in description.media if media.kind == "video"]
    for codec in (codec for media in videos for codec in media.rtp.codecs):
        if codec.name.lower() != "rtx":
            codec.parameters.update(UPLOAD_KBPS)
    return str(description)
