"""One WebRTC peer, from its offer to its end: connection, tracks and data channels around one LiveSession."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
)
from aiortc.sdp import MediaDescription, SessionDescription

from server.gpu_worker import GpuWorker
from server.live.link import Detach, LinkFull, Send
from server.live.session import LiveSession
from server.logs import session_logger
from server.media.recordings import Recordings
from server.metrics import Metrics
from server.settings import Settings
from server.webrtc.bitrate import BitrateControl
from server.webrtc.codecs import codec_preferences
from server.webrtc.connection import (
    WATCH_PERIOD_S,
    InvalidOffer,
    close_connection,
    negotiate,
    video_directions,
)
from server.webrtc.ice_servers import rtc_configuration
from server.webrtc.tracks import OutputTrack, drain
from server.webrtc.trickle import Fragment, Trickle
from server.webrtc.whole_frames import give_whole_frames

# Left alone, Chromium begins an upload at a low bitrate and shrinks the picture for it. Kilobits per second.
UPLOAD_KBPS = {
    "x-google-min-bitrate": "750",
    "x-google-start-bitrate": "1500",
    "x-google-max-bitrate": "3000",
}

MAX_UNREAD_CONTROL_BYTES = 1 << 20  # queued for a peer that does not read: it is given up
MAX_UNREAD_TELEMETRY_BYTES = 1 << 14  # beyond this newer figures are worth more than all of these


class Peer:
    """Owns one RTCPeerConnection and the session behind it, which may outlive it.

    peer = Peer(id, settings, worker, metrics)
    try:
        answer = await peer.accept(offer)
        await peer.attend()        # returns when the peer is gone, or after hang_up()
    finally:
        await peer.close()         # the session goes with it, unless `may_return` and it is to be kept
    """

    def __init__(
        self,
        id: str,
        settings: Settings,
        worker: GpuWorker,
        metrics: Metrics,
        recordings: Recordings | None = None,
        session: LiveSession | None = None,
    ) -> None:
        """`session` is one that a former peer has left; without it, there is a new one."""
        self.id = id
        self.session = session or LiveSession(id, settings, worker, metrics, recordings)
        self.may_return = session is not None  # the person may want to go on with the session
        self._is_resumed = session is not None
        self._log = session_logger(__name__, id)
        self._timeout = settings.peer_timeout
        self._codecs = settings.codecs
        self._now = asyncio.get_running_loop().time
        self._pc = RTCPeerConnection(rtc_configuration(settings))
        self._settings = settings
        self._trickle = Trickle(self._pc, settings)
        self._output = OutputTrack(self.session.playout.broadcast, self._hold_bitrate)
        self._bitrate: BitrateControl | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self._detach: dict[str, Detach] = {}  # by channel
        self._has_camera = False
        self._gone = asyncio.Event()

    async def accept(self, offer: str) -> str:
        """The SDP answer to an SDP offer. Raises InvalidOffer or NoUdpPort."""
        check_offer(offer)
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", self._on_datachannel)
        self._pc.on("connectionstatechange", self._on_connection_state)
        transceiver = self._pc.addTransceiver(self._output, direction="sendrecv")
        give_whole_frames(transceiver.receiver)
        self._bitrate = BitrateControl(transceiver.sender)
        # Ignored without a word once the offer is set.
        transceiver.setCodecPreferences(codec_preferences(self._codecs))
        answer = await negotiate(self._pc, offer, self._settings, self._trickle)
        if self._is_resumed:
            self.session.peer_changed()
        else:
            self.session.start()
        return _with_upload_bitrate(answer)

    @property
    def etag(self) -> str:
        """Of its newest ICE session."""
        return self._trickle.etag

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """Candidates that come after the offer, once it was accepted, or an ICE restart. As Trickle.add."""
        answer = await self._trickle.add(fragment)
        if answer is not None:  # heartbeats may have been lost; they begin again
            self.session.link.peer_changed()
        return answer

    async def attend(self) -> None:
        """Returns when the peer is gone: it hung up, never connected, or stopped its heartbeat."""
        deadline = self._now() + self._timeout
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_PERIOD_S):
                    await self._gone.wait()
            now = self._now()
            if self.session.link.is_lost(now):
                self.hang_up(f"no heartbeat for {self._timeout:g} s")
            elif self._pc.connectionState in ("new", "connecting") and now > deadline:
                self.hang_up(f"not connected within {self._timeout:g} s")

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        """Let attend() return. `may_return` None: if it has been connected."""
        if not self._gone.is_set():
            self.may_return = self.may_return if may_return is None else may_return
            self._log.info("ends: %s", reason)
            self._gone.set()

    async def close(self, *, keeps_session: bool = False) -> None:
        """End session, tracks and connection. Safe to call twice, and before accept()."""
        self._gone.set()
        for detach in self._detach.values():
            detach()
        if not keeps_session:
            await self.session.close()
        self._output.stop()
        await close_connection(self._pc, self._pumps, self._log)

    def _on_connection_state(self) -> None:
        self._log.debug("connection %s", self._pc.connectionState)
        if self._pc.connectionState == "connected":
            self.may_return = True
        if self._pc.connectionState in ("failed", "closed"):
            self.hang_up(f"connection {self._pc.connectionState}")

    def _on_track(self, track: MediaStreamTrack) -> None:
        """Drain every accepted track; only the first video track is the camera, audio is dropped."""
        if track.kind == "video" and not self._has_camera:
            self._has_camera = True
            self._pump(drain(track, self.session.camera_frame))
        else:
            self._pump(drain(track))

    def _hold_bitrate(self) -> None:
        if self._bitrate is not None:
            self._bitrate.hold(self.session.desk.output.quality, self._now())

    def _pump(self, work: Coroutine[Any, Any, None]) -> None:
        self._pumps.append(asyncio.create_task(work))

    def _on_datachannel(self, channel: RTCDataChannel) -> None:
        match channel.label:
            case "control" if "control" not in self._detach:
                send = partial(self._send_control, channel)
                self._attach(channel, self.session.join, send)
                channel.on("message", partial(self.session.receive, send=send, is_peer=True))
            case "telemetry" if "telemetry" not in self._detach:
                self._attach(channel, self.session.link.attach_telemetry, partial(_send_telemetry, channel))
            case label:
                self._log.warning(
                    "closes the data channel %r: expected control and telemetry, once each", label[:64]
                )
                channel.close()

    def _attach(self, channel: RTCDataChannel, attach: Callable[[Send], Detach], send: Send) -> None:
        try:
            self._detach[channel.label] = attach(send)
        except LinkFull as error:
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
