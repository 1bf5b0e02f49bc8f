"""WebRTC connection that sends a session's pictures: from its offer to its end."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError

from server.logs import session_logger
from server.protocol.requests import Quality
from server.session.session import LiveSession
from server.settings import Settings
from server.webrtc.aiortc_patches.bitrate import BitrateControl
from server.webrtc.aiortc_patches.candidate_addresses import candidates_only_at
from server.webrtc.aiortc_patches.clock import use_steady_clock
from server.webrtc.aiortc_patches.coded_sound import take_coded_sound
from server.webrtc.aiortc_patches.connecting import end_connecting_first
from server.webrtc.aiortc_patches.consent import count_as_consent
from server.webrtc.aiortc_patches.datagrams import pass_over_broken_datagrams
from server.webrtc.aiortc_patches.decoding import Decoding, is_sent_to
from server.webrtc.aiortc_patches.dtls import dtls_failure
from server.webrtc.aiortc_patches.encoding import convert_in_one_thread
from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer
from server.webrtc.aiortc_patches.loss_recovery import LossRecovery
from server.webrtc.aiortc_patches.packet_limits import limit_packets
from server.webrtc.aiortc_patches.rate_counter import count_bytes_in_buckets_used
from server.webrtc.aiortc_patches.sources import decrypted_packets, limit_sources
from server.webrtc.aiortc_patches.udp_ports import announced
from server.webrtc.ice_servers import rtc_configuration
from server.webrtc.offer import Offer
from server.webrtc.sdp_sections import InvalidOffer
from server.webrtc.tracks import OutputTrack, SoundTrack, drain
from server.webrtc.trickle import Fragment, Trickle

WATCH_PERIOD_S = 0.5  # how often it is looked whether a connection has come about, and is still wanted
CLOSE_TIMEOUT_S = 5.0

DIRECTIONS = {  # of a transceiver, by whether it sends and whether it receives
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}
# What aiortc raises of its own. read_offer leaves it no reason to, as far as is known.
OFFER_ERRORS = (
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
    InternalError,
    InvalidAccessError,
    InvalidStateError,
    OperationError,
)


class WebRtcConnection:
    """Owns one RTCPeerConnection, the track that it sends and the tasks that empty those it receives.

    A WebRtcPeer has one, and a Viewer is one.

    try:
        answer = offer.answered(await connection.answer(offer))
        await connection.attend()
    finally:
        await connection.close()
    """

    def __init__(
        self,
        session: LiveSession,
        settings: Settings,
        name: str,
        *,
        receives: bool = False,
        on_channel: Callable[[RTCDataChannel], None] = RTCDataChannel.close,
        quality: Callable[[], Quality] = lambda: "high",
        reason_to_end: Callable[[float], str | None] | None = None,
        on_flood: Callable[[str], None] | None = None,
    ) -> None:
        """`name` is what the log of the session calls it.

        `receives`: the first video track that the other side sends is the session's camera; nothing else that
        it sends is taken, and without it nothing at all. `on_channel` is given each data channel. `quality`
        is that of the pictures sent, at most. `reason_to_end` says why it is of no use any more, if so;
        without it, it ends with the session. `on_flood` is told why when the other side sends more than a
        connection may; without it, it ends.
        """
        self._name = name
        self._log = session_logger(__name__, session.id)
        self._settings = settings
        self._broadcast = session.playout.broadcast
        self._now = asyncio.get_running_loop().time
        self._pc = RTCPeerConnection(rtc_configuration(settings))
        self._trickle = Trickle(self._pc, settings)
        self._track = OutputTrack(self._broadcast, self._hold_bitrate)
        self._sound = SoundTrack(session.playout.sound)
        self._bitrate: BitrateControl | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self._session = session
        self._receives = receives
        self._decoding: Decoding | None = None
        self._on_channel = on_channel
        self._quality = quality
        self._reason_to_end = reason_to_end or self._why_over
        self._on_flood = on_flood or self.hang_up
        self.was_connected = False
        self.end_reason = ""  # why it was hung up
        self.codec = ""  # of the video that it sends, as in h264
        self._gone = asyncio.Event()

    async def answer(self, offer: Offer) -> str:
        """aiortc's answer, for `offer.answered`. Raises InvalidOffer or NoUdpPort.

        It is several milliseconds of work, in pieces: between them the loop serves others.
        """
        use_steady_clock()
        pass_over_broken_datagrams()
        end_connecting_first()
        count_bytes_in_buckets_used()
        convert_in_one_thread()
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("connectionstatechange", self._on_connection_state)
        transceiver = self._pc.addTransceiver(self._track)
        self._bitrate = BitrateControl(transceiver.sender)
        await asyncio.sleep(0)
        try:
            with candidates_only_at(offer.addresses):
                await self._pc.setRemoteDescription(RTCSessionDescription(sdp=offer.sdp, type="offer"))
            limit_packets(self._pc, self._on_flood)
            self._choose_what_comes(transceiver)
            count_as_consent(self._pc, self._packets_for_consent)
            self._trickle.begin(offer)
            await asyncio.sleep(0)
            answer = await self._pc.createAnswer()
            await asyncio.sleep(0)
            await self._pc.setLocalDescription(answer)
            await asyncio.sleep(0)
            self.codec = _codec_of(self._pc.localDescription.sdp)
        except OFFER_ERRORS as error:
            self._log.warning("%s: its offer cannot be answered", self._name, exc_info=True)
            raise InvalidOffer("the offer cannot be answered; the server's log says why") from error
        return announced(self._pc.localDescription.sdp, self._settings)

    @property
    def etag(self) -> str:
        """Of its newest ICE session."""
        return self._trickle.etag

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """Candidates that come after the offer, once it was accepted, or an ICE restart. As Trickle.add."""
        return await self._trickle.add(fragment)

    @property
    def is_over(self) -> bool:
        """Whether it has been hung up or closed."""
        return self._gone.is_set()

    async def attend(self) -> None:
        """Returns when the other side is gone, never connected or of no use any more, or after hang_up()."""
        timeout = self._settings.peer_timeout
        deadline = self._now() + timeout
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_PERIOD_S):
                    await self._gone.wait()
            now = self._now()
            if (reason := self._reason_to_end(now)) is not None:
                self.hang_up(reason)
            elif self._pc.connectionState in ("new", "connecting") and now > deadline:
                self.hang_up(f"not connected within {timeout:g} s")

    def hang_up(self, reason: str) -> None:
        """Let attend() return."""
        if not self._gone.is_set():
            self._log.info("%s ends: %s", self._name, reason)
            self.end_reason = reason
            self._gone.set()

    async def close(self) -> None:
        """End the track, the tasks that read what comes, then the connection. Safe to call twice."""
        self._gone.set()
        self._track.stop()
        self._sound.stop()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._pumps.clear()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pc.close()
                if self._decoding is not None:
                    await self._decoding.close()
        except TimeoutError:  # aiortc waits for its own tasks, and for ever if somebody has cancelled them
            self._log.warning("The connection did not close within %g s; leaving it behind", CLOSE_TIMEOUT_S)

    def _why_over(self, now: float) -> str | None:
        return "the session has ended" if self._broadcast.is_over else None

    def _on_connection_state(self) -> None:
        self._log.debug("%s: connection %s", self._name, self._pc.connectionState)
        if self._pc.connectionState == "connected":
            self.was_connected = True
            limit_sources(self._pc)
        elif self._pc.connectionState in ("failed", "closed"):
            why = dtls_failure(self._pc)
            self.hang_up(f"connection {self._pc.connectionState}" + (f": {why}" if why else ""))

    def _choose_what_comes(self, sending: RTCRtpTransceiver) -> None:
        """Receive the camera and one sound: whatever else is sent would cost a thread each, and is for
        nobody."""
        transceivers = self._pc.getTransceivers()
        videos = [one for one in transceivers if one.kind == "video" and is_sent_to(one.receiver)]
        camera = videos[0] if self._receives and videos else None
        sound = next((one for one in transceivers if self._settings.audio and _is_opus(one)), None)
        for one in transceivers:
            sends = one is sending or one is sound
            receives = one is camera or (one is sound and self._receives and is_sent_to(one.receiver))
            one.direction = DIRECTIONS[sends, receives]
            if one is sound:
                one.sender.replaceTrack(self._sound)
                if receives:
                    take_coded_sound(one.receiver, self._session.playout.sound.packet)
        if camera is not None:
            self._receive_camera(camera.receiver)

    def _receive_camera(self, receiver: RTCRtpReceiver) -> None:
        session = self._session
        buffer = use_marker_jitter_buffer(receiver)
        self._decoding = Decoding(receiver, rejected=session.camera_rejected, dropped=session.camera_dropped)
        for task in (
            drain(receiver.track, session.camera_frame),
            LossRecovery(receiver, buffer, self._decoding).run(),
        ):
            self._pumps.append(asyncio.create_task(task))

    def _packets_for_consent(self) -> int:
        """What the other side has sent, where it is sent nothing but feedback."""
        sends = any(one.currentDirection in ("sendrecv", "sendonly") for one in self._pc.getTransceivers())
        return 0 if sends or self._pc.sctp is not None else decrypted_packets(self._pc)

    def _hold_bitrate(self) -> None:
        if self._bitrate is not None:
            self._bitrate.hold(self._quality(), self._now())


def _is_opus(transceiver: RTCRtpTransceiver) -> bool:
    """Whether it is for sound, and of the one codec that is taken: any browser has it (RFC 7874)."""
    codecs: Any = transceiver._codecs  # pyright: ignore[reportPrivateUsage] -- aiortc has no public place
    return transceiver.kind == "audio" and all(codec.name.lower() == "opus" for codec in codecs)


def _codec_of(answer: str) -> str:
    """Of the video that an answer agrees on: its first payload."""
    found = re.search(r"^m=video \d+ \S+ (\d+)", answer, re.MULTILINE)
    name = found and re.search(rf"^a=rtpmap:{found[1]} ([^/]+)/", answer, re.MULTILINE)
    return name[1].lower() if name else ""
