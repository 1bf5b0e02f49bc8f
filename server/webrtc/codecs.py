"""Video codecs of a connection: what it decodes and what it sends, each by a list of its own.

libavcodec decodes every profile of H.264; what is encoded is constrained baseline, packetization mode 1.
aiortc knows one list for both directions, and two profiles. It is given payloads that it knows, in our order;
it sends the first and decodes all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.settings import Codec

DECODED: tuple[Codec, ...] = ("h264", "vp8")  # in this order: H.264 is coded faster, and so with less delay
CLOCK_HZ = 90_000
DYNAMIC = range(96, 128)  # aiortc gives any other payload type a number of its own
H264_OF_AIORTC = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
BASELINE = "42"
PROFILE_LEVEL = re.compile(r"[0-9A-Fa-f]{6}")


@dataclass(frozen=True, slots=True)
class RtpMap:
    """One `a=rtpmap` line."""

    name: str  # in lower case
    clock_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Payload:
    """One offered payload type of video that is taken."""

    number: int
    codec: Codec
    profile_level: str | None = None  # of H.264, as offered; None means constrained baseline
    packetization_mode: str = "0"
    retransmission: int | None = None  # the payload type of its retransmissions

    @property
    def may_be_sent(self) -> bool:
        """Whether what is encoded is within it: constrained baseline is a subset of every profile."""
        return self.codec != "h264" or self.packetization_mode == "1"

    @property
    def is_baseline(self) -> bool:
        """Whether it is what is encoded, and no more."""
        return self.profile_level is None or self.profile_level.startswith(BASELINE)

    @property
    def fmtp(self) -> str | None:
        """Its parameters as aiortc knows them."""
        return H264_OF_AIORTC if self.codec == "h264" else None

    def restored(self, fmtp: str) -> str:
        """aiortc's parameters in an answer, with what was offered: both must be equal (RFC 6184, 8.2.2)."""
        if self.codec != "h264":
            return fmtp
        fmtp = fmtp.replace("packetization-mode=1", f"packetization-mode={self.packetization_mode}")
        if self.profile_level is None:
            return fmtp
        return re.sub("profile-level-id=[0-9a-f]{6}", f"profile-level-id={self.profile_level}", fmtp)


def video_payloads(
    formats: Sequence[int], maps: Mapping[int, RtpMap], parameters: Mapping[int, Mapping[str, str]]
) -> list[Payload]:
    """Those of an offered video that can be decoded, the preferred codec first, in the order offered."""
    again: dict[int, int] = {}
    for number in formats:
        if number in maps and number in DYNAMIC and maps[number].name == "rtx":
            about = parameters.get(number, {}).get("apt", "")
            if about.isascii() and about.isdigit():
                again.setdefault(int(about[:4]), number)
    payloads: list[Payload] = []
    for number in formats:
        if number not in maps or number not in DYNAMIC or maps[number].clock_hz != CLOCK_HZ:
            continue
        match maps[number].name:
            case "vp8":
                payloads.append(Payload(number, "vp8", retransmission=again.get(number)))
            case "h264":
                said = parameters.get(number, {})
                mode = said.get("packetization-mode", "0")
                if mode in ("0", "1"):  # 2 is interleaved, which nobody sends and aiortc does not read
                    profile = said.get("profile-level-id", "")
                    known = profile if PROFILE_LEVEL.fullmatch(profile) else None
                    payloads.append(Payload(number, "h264", known, mode, again.get(number)))
            case _:
                pass
    return sorted(payloads, key=lambda payload: DECODED.index(payload.codec))


def sent_payloads(payloads: Sequence[Payload], codecs: Sequence[Codec]) -> list[Payload]:
    """Those that can be sent by the setting `codecs`, the preferred one first."""
    sent = [payload for payload in payloads if payload.codec in codecs and payload.may_be_sent]
    return sorted(sent, key=lambda payload: (codecs.index(payload.codec), not payload.is_baseline))
