"""Offers of clients, made into ones that aiortc understands, and its answers made into ones that fit them.

aiortc reads what its own like writes, and stumbles over the rest of SDP. So it is given a description of our
own: only what it needs, one video, every default spelled out. What it is not shown is answered here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_to_sdp

from server.quotation import shown
from server.settings import Codec
from server.webrtc.candidates import MAX_CANDIDATES, AddressRule, is_usable, read_candidate
from server.webrtc.codecs import (
    DECODED,
    DYNAMIC,
    Payload,
    RtpMap,
    sent_payloads,
    video_payloads,
)
from server.webrtc.sdp_sections import Attributes, InvalidOffer, Media, Sections, read_sections

Role = Literal["publisher", "viewer"]

RTP_PROTOCOL = re.compile(r"(?:(?:UDP|TCP)/D?TLS/)?RTP/S?AVPF?")
SCTP_PROTOCOL = re.compile(r"(?:(?:UDP|TCP)/)?DTLS/SCTP")
RTP_MAP = re.compile(r"([!-.0-~]{1,32})/([0-9]{1,6})(?:/([0-9]{1,2}))?")
FINGERPRINT = re.compile(r"(sha-(?:256|384|512)) +([0-9a-f]{2}(?::[0-9a-f]{2})+)", re.IGNORECASE)
OCTETS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
SETUPS = ("actpass", "active", "passive")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
UFRAG, PASSWORD = re.compile(r"[!-9;-~]{4,256}"), re.compile(r"[!-~]{22,256}")  # RFC 8839, 5.4, and more
EXTENSION = re.compile(r"([0-9]{1,3})(?:/[a-z]+)? +([!-~]{1,255})(?: .*)?")
EXTENSIONS = (  # those that aiortc makes use of
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
)
FEEDBACK = ("nack", "nack pli", "goog-remb")  # the same
AUDIO = {("opus", 48_000): 96, ("g722", 8000): 9, ("pcmu", 8000): 0, ("pcma", 8000): 8}
STATIC = {0: RtpMap("pcmu", 8000, 1), 8: RtpMap("pcma", 8000, 1), 9: RtpMap("g722", 8000, 1)}  # RFC 3551
SENDS, RECEIVES = ("sendrecv", "sendonly"), ("sendrecv", "recvonly")
SCTP_PORT = 5000
MAX_CANDIDATE_LINES = 4 * MAX_CANDIDATES  # that are looked at: some are of TCP, some are doubled by a bundle
NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Transport:
    """Where and how the other side is reached, for one m-line or all of a bundle."""

    lines: tuple[str, ...]
    candidates: tuple[RTCIceCandidate, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """An m-line that aiortc is shown."""

    media: Media
    mid: str  # as aiortc is told it
    lines: tuple[str, ...]
    payloads: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that can be answered.

    offer = read_offer(text, "publisher", settings.codecs, rule)
    await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
    answer = offer.answered(pc.localDescription.sdp)
    """

    sdp: str  # for aiortc
    addresses: AddressRule  # which of the candidates' may be tried
    candidates: int  # how many came with it
    credentials: frozenset[tuple[str, str]]  # ICE's, of all its media
    mids: Mapping[str, str | None]  # for each of its media, the one whose transport serves it, if any
    media: tuple[Media | Taken, ...]
    bundle: tuple[str, ...]  # mids of those that share a transport

    def answered(self, answer: str) -> str:
        """aiortc's answer with an m-line for each that was offered (RFC 3264, 6), in the words of the offer.

        What was not taken has port 0, and is not in the bundle.
        """
        head, *sections = re.split(r"(?m)^(?=m=)", answer)
        group = f"a=group:BUNDLE {' '.join(self.bundle)}\r\n" if self.bundle else ""
        texts = [re.sub(r"(?m)^a=group:BUNDLE.*\n", lambda _: group, head)]
        rest = iter(sections)
        for media in self.media:
            texts.append(_answered(media, next(rest)) if isinstance(media, Taken) else _refused(media))
        return "".join(texts)


def read_offer(text: str, role: Role, codecs: Sequence[Codec], addresses: AddressRule) -> Offer:
    """Make an offer one that can be answered: a publisher's, who sends a video, or a viewer's, who receives
    one. `codecs` are those that may be sent, the preferred one first.

    Raises InvalidOffer, saying what was offered and what is taken.
    """
    sections = read_sections(text)
    video = _video(sections, role, codecs)
    found: dict[Media, Taken] = {video.media: video}
    for media in sections.media:
        is_first = all(one.media.kind != media.kind for one in found.values())
        if is_first and (other := _other(sections, media, role)) is not None:
            found[media] = other
    bundle = sections.bundle(video.media)
    shared = [one for one in bundle if one in found]
    others = [one for one in bundle if one not in found and _is_alive(sections, one)]
    transports: dict[Media, Transport] = {}
    for media in sections.media:
        if media in found:
            # In a bundle the first's that is taken counts; of what it does not say, the others'.
            donors = [*shared, *others] if media in shared else [media]
            transport = _transport(sections, donors)
            if isinstance(transport, Transport):
                transports[media] = transport
            elif media is video.media:
                raise InvalidOffer(transport)
    answered = tuple(found[media] if media in transports else media for media in sections.media)
    mids: dict[str, str | None] = {}
    for media in sections.media:
        if media.mid is not None:
            served = shared[0] if media in bundle else media if media in transports else None
            mids[media.mid] = served and served.mid
    group = tuple(str(one.mid) for one in shared)
    written, count = _written(answered, transports, shared)
    levels = [sections.session, *(media.attributes for media in sections.media)]
    credentials = frozenset(ice for level in levels if (ice := _credentials(level)) is not None)
    return Offer(written, addresses, count, credentials, mids, answered, group)


def _written(
    answered: Sequence[Media | Taken], transports: Mapping[Media, Transport], shared: Sequence[Media]
) -> tuple[str, int]:
    """The description for aiortc, and how many candidates it has.

    It never says where they end, nor does a trickled fragment: without one that may be tried aioice would
    give up at once, or even gather none of its own. But the other side knows where we are, and its checks may
    arrive. Who never connects is given up after `peer_timeout`.
    """
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if shared:
        lines.append(f"a=group:BUNDLE {' '.join(str(one.mid) for one in shared)}")
    count = 0
    for one in answered:
        if not isinstance(one, Taken):
            continue
        transport = transports[one.media]
        lines += [*one.lines, *transport.lines]
        if one.media not in shared[1:]:  # a bundle's are the first's
            lines += [f"a=candidate:{candidate_to_sdp(each)}" for each in transport.candidates]
            count += len(transport.candidates)
    return "\r\n".join(lines) + "\r\n", count


def _video(sections: Sections, role: Role, codecs: Sequence[Codec]) -> Taken:
    """The first video that can be taken."""
    expected = "sendrecv or sendonly" if role == "publisher" else "recvonly"
    videos = [media for media in sections.media if media.kind == "video"]
    if not videos:
        raise InvalidOffer(f"the offer has no video: expected one video track, {expected}")
    wanted = SENDS if role == "publisher" else RECEIVES
    directions = [_direction(sections, video) for video in videos]
    fitting = [video for video, way in zip(videos, directions, strict=True) if way in wanted]
    if not fitting:
        verb = "sends" if role == "publisher" else "receives"
        raise InvalidOffer(f"the offer {verb} no video ({', '.join(directions)}): expected {expected}")
    reasons: list[str] = []
    for video in fitting:
        found = _taken_video(sections, video, role, codecs)
        if isinstance(found, Taken):
            return found
        reasons.append(found)
    raise InvalidOffer(reasons[0])


def _taken_video(sections: Sections, video: Media, role: Role, codecs: Sequence[Codec]) -> Taken | str:
    """This video, or why it cannot be taken."""
    if (reason := _unusable(sections, video, RTP_PROTOCOL)) is not None:
        return f"the video {reason}"
    maps = _rtp_maps(video)
    parameters = {number: _parameters(text) for number, text in video.attributes.by_payload("fmtp").items()}
    payloads = video_payloads(video.payload_types, maps, parameters)
    sent = sent_payloads(payloads, codecs)
    direction = _direction(sections, video)
    if role == "viewer":
        direction, kept = "recvonly", sent
    elif direction == "sendrecv" and sent:
        kept = [*sent, *(payload for payload in payloads if payload not in sent)]
    else:
        direction, kept = "sendonly", payloads
    if not kept:
        offered = ", ".join(dict.fromkeys(shown(one.name).upper() for one in maps.values())) or "none"
        takes = " or ".join(map(str.upper, DECODED if role == "publisher" else codecs))
        modes = "0 or 1" if role == "publisher" else "1"
        return (
            f"the video has no codec that can be taken: offered {offered}, expected {takes}, "
            f"with a payload type of {DYNAMIC[0]} to {DYNAMIC[-1]}, H264 with packetization-mode {modes}"
        )
    lines: list[str] = []
    for payload in kept:
        lines += [f"a=rtpmap:{payload.number} {payload.codec.upper()}/90000"]
        lines += [f"a=fmtp:{payload.number} {payload.fmtp}"] if payload.fmtp else []
        if payload.retransmission is not None:
            lines += [
                f"a=rtpmap:{payload.retransmission} rtx/90000",
                f"a=fmtp:{payload.retransmission} apt={payload.number}",
            ]
    numbers = [payload.number for payload in kept]
    again = [payload.retransmission for payload in kept if payload.retransmission is not None]
    lines += _feedback(video.attributes, numbers)
    return _taken_rtp(sections, video, direction, [*numbers, *again], lines, tuple(kept))


def _other(sections: Sections, media: Media, role: Role) -> Taken | None:
    """An audio or the data channels, as aiortc is to see it; None for what is of no use."""
    if media.kind == "audio" and _unusable(sections, media, RTP_PROTOCOL) is None:
        maps = STATIC | _rtp_maps(media)
        known = [
            number
            for number in media.payload_types
            if number in maps
            and (static := AUDIO.get((maps[number].name, maps[number].clock_hz))) is not None
            and (number == static or number in DYNAMIC)
        ]
        if not known:
            return None
        known = [number for number in known if maps[number].name == "opus"] or known
        lines = [
            f"a=rtpmap:{number} {maps[number].name}/{maps[number].clock_hz}"
            + ("/2" if maps[number].name == "opus" else "")
            for number in known
        ]
        direction = _direction(sections, media)
        if role == "viewer":
            direction = "recvonly" if direction in RECEIVES else "inactive"
        return _taken_rtp(sections, media, direction, known, lines)
    if media.kind == "application" and _unusable(sections, media, SCTP_PROTOCOL) is None:
        return _taken_channels(sections, media)
    return None


def _taken_channels(sections: Sections, media: Media) -> Taken | None:
    """The data channels; the form of older browsers too, whose format is the port."""
    format = media.formats[0] if media.formats else ""
    is_legacy = _is_port(format)
    if not is_legacy and format != "webrtc-datachannel":
        return None
    mid = media.mid or _free_mid(sections, media)
    port = media.attributes.first("sctp-port") or ""
    if is_legacy:
        lines = [f"m=application 9 DTLS/SCTP {format}", f"a=sctpmap:{format} webrtc-datachannel 65535"]
    else:
        number = port if _is_port(port) else SCTP_PORT
        lines = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", f"a=sctp-port:{number}"]
    size = media.attributes.first("max-message-size") or ""
    if NUMBER.fullmatch(size):
        lines.append(f"a=max-message-size:{size}")
    return Taken(media, mid, (*lines, f"a=mid:{mid}"))


def _taken_rtp(
    sections: Sections,
    media: Media,
    direction: str,
    numbers: Sequence[int],
    codecs: Sequence[str],
    payloads: tuple[Payload, ...] = (),
) -> Taken:
    mid = media.mid or _free_mid(sections, media)
    lines = [
        f"m={media.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}",
        f"a={direction}",
        f"a=mid:{mid}",
        "a=rtcp-mux",
        *_extensions(media.attributes),
        *codecs,
    ]
    if direction in SENDS:
        lines += _sources(media.attributes)
    return Taken(media, mid, tuple(lines), payloads)


def _is_alive(sections: Sections, media: Media) -> bool:
    """Port 0 refuses an m-line, unless it only waits for the bundle's port (RFC 8843, 6)."""
    return media.port != 0 or ("bundle-only" in media.attributes and sections.bundle(media) != [])


def _unusable(sections: Sections, media: Media, protocols: re.Pattern[str]) -> str | None:
    """Why this m-line cannot be taken, if so."""
    if not _is_alive(sections, media):
        return "has port 0: expected 9, or a=bundle-only and a BUNDLE group"
    if not protocols.fullmatch(media.protocol):
        return f"has the protocol {shown(media.protocol)}: expected UDP/TLS/RTP/SAVPF"
    mid = media.attributes.first("mid")
    if media.mid is None and mid:
        return f"has the mid {shown(mid)}: expected one of its own, without spaces"
    if protocols is RTP_PROTOCOL and not (
        "rtcp-mux" in media.attributes or "rtcp-mux" in sections.session or sections.bundle(media)
    ):
        return "has RTCP on a port of its own: expected a=rtcp-mux"
    return None


def _direction(sections: Sections, media: Media) -> str:
    """The m-line's, or the session's, or sendrecv (RFC 8866, 6.7)."""
    for attributes in (media.attributes, sections.session):
        for direction in DIRECTIONS:
            if direction in attributes:
                return direction
    return DIRECTIONS[0]


def _transport(sections: Sections, donors: Sequence[Media]) -> Transport | str:
    """How to reach the other side, by the first of these m-lines that says so, or why that is not known."""
    levels = [*(media.attributes for media in donors), sections.session]
    ice = next((found for level in levels if (found := _credentials(level)) is not None), None)
    if ice is None:
        return "the offer has no ICE credentials: expected a=ice-ufrag and a=ice-pwd, of 4 and 22 characters"
    prints = next((found for level in levels if (found := _fingerprints(level))), None)
    if prints is None:
        said = [shown(value.partition(" ")[0]) for level in levels for value in level.all("fingerprint")]
        offered = ", ".join(dict.fromkeys(said[:4])) or "none"
        return f"the offer has no usable fingerprint: offered {offered}, expected a whole sha-256"
    setups = (level.first("setup") for level in levels)
    setup = next((found for found in setups if found in SETUPS), "active")  # the default of RFC 4145, 4
    lines = [f"a=ice-ufrag:{ice[0]}", f"a=ice-pwd:{ice[1]}", *prints, f"a=setup:{setup}"]
    candidates: dict[tuple[str, int], RTCIceCandidate] = {}
    for media in donors:
        if _credentials(media.attributes) in (None, ice):  # else they are of another transport
            for value in media.attributes.all("candidate")[:MAX_CANDIDATE_LINES]:
                candidate = _candidate(value)
                if candidate is not None and len(candidates) < MAX_CANDIDATES:
                    candidates.setdefault((candidate.ip, candidate.port), candidate)
    return Transport(tuple(lines), tuple(candidates.values()))


def _credentials(attributes: Attributes) -> tuple[str, str] | None:
    ufrag, password = attributes.first("ice-ufrag") or "", attributes.first("ice-pwd") or ""
    return (ufrag, password) if UFRAG.fullmatch(ufrag) and PASSWORD.fullmatch(password) else None


def _fingerprints(attributes: Attributes) -> list[str]:
    found = [FINGERPRINT.fullmatch(value) for value in attributes.all("fingerprint")]
    whole = [(one[1].lower(), one[2].upper()) for one in found if one]
    return list(
        dict.fromkeys(
            f"a=fingerprint:{name} {value}" for name, value in whole if len(value) == OCTETS[name] * 3 - 1
        )
    )


def _candidate(value: str) -> RTCIceCandidate | None:
    """One that can be tried; None for what is broken or of no use."""
    try:
        candidate = read_candidate(value)
    except ValueError:
        return None
    return candidate if is_usable(candidate) else None


def _rtp_maps(media: Media) -> dict[int, RtpMap]:
    maps: dict[int, RtpMap] = {}
    for number, text in media.attributes.by_payload("rtpmap").items():
        if found := RTP_MAP.fullmatch(text):
            maps[number] = RtpMap(found[1].lower(), int(found[2]), int(found[3] or 1))
    return maps


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _feedback(attributes: Attributes, numbers: Sequence[int]) -> list[str]:
    said = {tuple(value.split()) for value in attributes.all("rtcp-fb")}
    return [
        f"a=rtcp-fb:{number} {kind}"
        for number in numbers
        for kind in FEEDBACK
        if {(str(number), *kind.split()), ("*", *kind.split())} & said
    ]


def _extensions(attributes: Attributes) -> list[str]:
    """Header extensions that aiortc knows, each once."""
    ids: dict[str, str] = {}
    for value in attributes.all("extmap"):
        found = EXTENSION.fullmatch(value)
        if found and found[2] in EXTENSIONS and 0 < int(found[1]) < 256 and found[1] not in ids.values():
            ids.setdefault(found[2], found[1])
    return [f"a=extmap:{id} {uri}" for uri, id in ids.items()]


def _sources(attributes: Attributes) -> list[str]:
    """The SSRC of the media and that of its retransmissions, if they are told; nobody else's."""
    pairs = (group.split() for group in attributes.all("ssrc-group"))
    told = [value.partition(" ")[0] for value in attributes.all("ssrc")]
    numbers = next((pair[1:] for pair in pairs if pair[:1] == ["FID"] and len(pair) == 3), told[:1])
    if not all(NUMBER.fullmatch(number) and int(number) < 1 << 32 for number in numbers):
        return []
    return [f"a=ssrc:{number} cname:-" for number in numbers]


def _is_port(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None and 0 < int(text) < 65536


def _free_mid(sections: Sections, media: Media) -> str:
    """A name for an m-line that has none, which no other has."""
    taken = {one.mid for one in sections.media}
    name = str(sections.media.index(media))
    while name in taken:
        name += "_"
    return name


def _answered(taken: Taken, section: str) -> str:
    """aiortc's answer to an m-line, with the protocol and the parameters that were offered."""
    lines = section.splitlines()
    kind, port, _, *formats = lines[0].split(" ")
    lines[0] = " ".join([kind, port, taken.media.protocol, *formats])
    if taken.media.mid is None:
        lines = [line for line in lines if not line.startswith("a=mid:")]
    restored = {f"a=fmtp:{payload.number}": payload for payload in taken.payloads}
    for number, line in enumerate(lines):
        name, _, fmtp = line.partition(" ")
        if name in restored:
            lines[number] = f"{name} {restored[name].restored(fmtp)}"
    return "\r\n".join(lines) + "\r\n"


def _refused(media: Media) -> str:
    formats = " ".join(media.formats) or "0"
    lines = [f"m={media.kind} 0 {media.protocol} {formats}", "c=IN IP4 0.0.0.0"]
    if media.mid is not None:
        lines.append(f"a=mid:{media.mid}")
    return "\r\n".join([*lines, "a=inactive"]) + "\r\n"
