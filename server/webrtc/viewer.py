"""Somebody who watches a session: one connection that takes the pictures on show, and gives none."""

import asyncio
from contextlib import suppress

from aiortc import (
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
)

from server.live.session import LiveSession
from server.logs import session_logger
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


class Viewer:
    """Owns one RTCPeerConnection; the session is another's and notices nothing of it.

    viewer = Viewer(id, session, settings)
    try:
        answer = await viewer.accept(offer)
        await viewer.attend()      # returns when the viewer or the session is gone, or after hang_up()
    finally:
        await viewer.close()
    """

    def __init__(self, id: str, session: LiveSession, settings: Settings) -> None:
        self.id = id
        self._broadcast = session.playout.broadcast
        self._log = session_logger(__name__, session.id)
        self._timeout = settings.peer_timeout
        self._codecs = settings.codecs
        self._now = asyncio.get_running_loop().time
        self._pc = RTCPeerConnection(rtc_configuration(settings))
        self._settings = settings
        self._trickle = Trickle(self._pc, settings)
        self._track = OutputTrack(self._broadcast, self._hold_bitrate)
        self._bitrate: BitrateControl | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self._gone = asyncio.Event()

    async def accept(self, offer: str) -> str:
        """The SDP answer to an SDP offer. Raises InvalidOffer or NoUdpPort."""
        check_viewer_offer(offer)
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", RTCDataChannel.close)
        self._pc.on("connectionstatechange", self._on_connection_state)
        transceiver = self._pc.addTransceiver(self._track, direction="sendonly")
        self._bitrate = BitrateControl(transceiver.sender)
        transceiver.setCodecPreferences(codec_preferences(self._codecs))
        return await negotiate(self._pc, offer, self._settings, self._trickle)

    @property
    def etag(self) -> str:
        """Of its newest ICE session."""
        return self._trickle.etag

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """Candidates that come after the offer, once it was accepted, or an ICE restart. As Trickle.add."""
        return await self._trickle.add(fragment)

    async def attend(self) -> None:
        """Returns when the viewer is gone or never connected, or when the session has ended."""
        deadline = self._now() + self._timeout
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_PERIOD_S):
                    await self._gone.wait()
            if self._broadcast.is_over:
                self.hang_up("the session has ended")
            elif self._pc.connectionState in ("new", "connecting") and self._now() > deadline:
                self.hang_up(f"not connected within {self._timeout:g} s")

    def hang_up(self, reason: str) -> None:
        """Let attend() return."""
        if not self._gone.is_set():
            self._log.info("viewer %s ends: %s", self.id[:8], reason)
            self._gone.set()

    async def close(self) -> None:
        """End track and connection. Safe to call twice, and before accept()."""
        self._gone.set()
        self._track.stop()
        await close_connection(self._pc, self._pumps, self._log)

    def _on_connection_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self.hang_up(f"connection {self._pc.connectionState}")

    def _hold_bitrate(self) -> None:
        if self._bitrate is not None:
            self._bitrate.hold("high", self._now())

    def _on_track(self, track: MediaStreamTrack) -> None:
        """Whatever a viewer sends is read and dropped."""
        self._pumps.append(asyncio.create_task(drain(track)))


def check_viewer_offer(offer: str) -> None:
    """Raise InvalidOffer unless this is SDP with a video track that the viewer wants to receive."""
    directions = video_directions(offer)
    if not directions:
        raise InvalidOffer("the offer has no video: expected one video track, recvonly")
    if not {"recvonly", "sendrecv"} & set(directions):
        raise InvalidOffer(f"the offer receives no video ({', '.join(directions)}): expected recvonly")
