"""Video codecs that are offered to a receiver, in their order."""

from collections.abc import Sequence

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecCapability

from server.settings import Codec


def codec_preferences(codecs: Sequence[Codec]) -> list[RTCRtpCodecCapability]:
    """What aiortc can send of `codecs`, in their order, then retransmission; others are not negotiated."""
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    wanted = (*(f"video/{codec}" for codec in codecs), "video/rtx")
    return [codec for name in wanted for codec in capabilities if codec.mimeType.lower() == name]
