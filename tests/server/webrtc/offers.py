"""For tests: SDP offers as clients make them, and broken ones."""

from aiortc import RTCConfiguration, RTCPeerConnection

from server.settings import Codec
from server.webrtc.candidates import AddressRule
from server.webrtc.offer import Offer, read_offer
from tests.server.running import Camera

ANYWHERE = AddressRule(loopback=True, private=True)


def published(text: str, codecs: tuple[Codec, ...] = ("h264", "vp8")) -> Offer:
    """As a publisher's offer is read; `codecs` may be sent."""
    return read_offer(text, "publisher", codecs, ANYWHERE)


def watched(text: str, codecs: tuple[Codec, ...] = ("h264", "vp8")) -> Offer:
    """As a viewer's offer is read."""
    return read_offer(text, "viewer", codecs, ANYWHERE)


async def offer_of(*tracks: tuple[str, str], channel: bool = False) -> str:
    """The offer of a client with tracks of these kinds and directions."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind, direction in tracks:
        pc.addTransceiver(Camera() if kind == "video" else "audio", direction=direction)
    if channel:
        pc.createDataChannel("control")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = pc.localDescription.sdp
    await pc.close()
    return sdp


def broken(offer: str) -> list[str]:
    """The offer with every single line left out, and with every line cut short."""
    lines = offer.splitlines()
    texts = [lines[:n] + lines[n + 1 :] for n in range(len(lines))]
    texts += [[*lines[:n], lines[n][: len(lines[n]) // 2], *lines[n + 1 :]] for n in range(len(lines))]
    return ["\r\n".join(text) + "\r\n" for text in texts]
