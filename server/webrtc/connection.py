"""What every WebRTC connection here does: read an offer, answer it, close."""

import asyncio
import logging
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import SessionDescription

from server.settings import Settings
from server.webrtc.trickle import Trickle
from server.webrtc.udp_ports import announced

WATCH_PERIOD_S = 0.5  # how often it is looked whether a connection has come about, and is still wanted
CLOSE_TIMEOUT_S = 5.0

# aiortc's SDP parser has no error of its own: what it raises depends on where the text is broken.
SDP_ERRORS = (AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)
OFFER_ERRORS = (*SDP_ERRORS, InternalError, InvalidAccessError, InvalidStateError, OperationError)


class InvalidOffer(Exception):
    """The offer cannot be accepted; the text says why."""


def video_directions(offer: str) -> list[str]:
    """What the offerer wants of each of its videos: "sendrecv", "sendonly", "recvonly" or "inactive".

    Raises InvalidOffer unless this is SDP.
    """
    if not offer.startswith("v=0"):
        raise InvalidOffer("this is no SDP: expected it to begin with v=0")
    try:
        description = SessionDescription.parse(offer)
    except SDP_ERRORS as error:
        raise InvalidOffer(f"this is no SDP: {error or type(error).__name__}") from error
    return [str(media.direction) for media in description.media if media.kind == "video"]


async def negotiate(pc: RTCPeerConnection, offer: str, settings: Settings, trickle: Trickle) -> str:
    """The SDP answer to an offer, once `pc` has its tracks. Raises InvalidOffer or NoUdpPort."""
    try:
        await pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        trickle.begin()
        await pc.setLocalDescription(await pc.createAnswer())
    except OFFER_ERRORS as error:
        raise InvalidOffer(f"the offer cannot be answered: {error or type(error).__name__}") from error
    return announced(pc.localDescription.sdp, settings)


async def close_connection(
    pc: RTCPeerConnection, pumps: list[asyncio.Task[None]], log: "logging.LoggerAdapter[Any]"
) -> None:
    """End the tasks that read its tracks, then the connection. Safe to call twice."""
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    pumps.clear()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pc.close()
    except TimeoutError:  # aiortc waits for its own tasks, and for ever if somebody has cancelled them
        log.warning("The connection did not close within %g s; leaving it behind", CLOSE_TIMEOUT_S)
