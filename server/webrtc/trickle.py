"""Trickled ICE candidates: SDP fragments (RFC 8840) of a PATCH, and their way into a connection."""

import asyncio
import ipaddress
import re
from dataclasses import dataclass, replace

from aiortc import RTCIceCandidate, RTCPeerConnection
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

MAX_LINES = 256
MAX_CANDIDATES = 64  # of one connection, however many requests they come in; a browser sends about ten
MDNS_NAME = re.compile(r"[A-Za-z0-9-]{1,63}\.local")  # a browser's way to hide an address
TYPES = ("host", "srflx", "prflx", "relay")


class InvalidFragment(Exception):
    """This is no SDP fragment that fits the connection; the text says why."""


class RestartNotSupported(Exception):
    """The fragment belongs to another ICE session than the one that runs: it asks for an ICE restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What one fragment says. Each candidate has its `sdpMid`."""

    ufrag: str | None
    password: str | None
    candidates: tuple[RTCIceCandidate, ...]
    is_complete: bool  # no more candidates will follow


def parse_fragment(text: str) -> Fragment:
    """Read an application/trickle-ice-sdpfrag. Raises InvalidFragment naming the line."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise InvalidFragment(f"got {len(lines)} lines, expected at most {MAX_LINES}")
    found: dict[str, str] = {}
    candidates: list[RTCIceCandidate] = []
    mid: str | None = None
    is_complete = False
    for number, line in enumerate(lines, 1):
        name, _, value = line.strip().partition(":")
        match name:
            case "a=ice-ufrag" | "a=ice-pwd":
                if found.setdefault(name, value) != value:
                    raise InvalidFragment(f"line {number}: another {name[2:]} than before")
            case "a=mid":
                mid = value
            case "a=candidate":
                if mid is None:
                    raise InvalidFragment(f"line {number}: a candidate before any a=mid line")
                candidates.append(replace(_candidate(value, number), sdpMid=mid))
            case "a=end-of-candidates":
                is_complete = True
            case _ if name.startswith("m="):
                mid = None
            case _ if name and not re.match(r"[a-z]=", name):
                raise InvalidFragment(f"line {number}: this is no SDP: {line[:40]!r}")
            case _:
                pass  # what RFC 8840 allows besides, and what may come after it
    if not found and not candidates and not is_complete:
        raise InvalidFragment("it has neither candidates nor ICE credentials")
    return Fragment(
        ufrag=found.get("a=ice-ufrag"),
        password=found.get("a=ice-pwd"),
        candidates=tuple(candidates),
        is_complete=is_complete,
    )


class Trickle:
    """The candidates of one connection that come after its offer.

    trickle = Trickle(pc)          # once the offer is set
    await trickle.add(fragment)
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        self._pc = pc
        self._count = 0

    async def add(self, fragment: Fragment) -> None:
        """Hand the candidates to ICE; returns when hidden addresses have been looked up, a second at most.

        Raises InvalidFragment for media that the offer does not have and for too many candidates, and
        RestartNotSupported for credentials other than the offer's; nothing has happened then.
        """
        description = SessionDescription.parse(self._pc.remoteDescription.sdp)
        medias = {media.rtp.muxId: media for media in description.media}
        _check_credentials(fragment, list(medias.values()))
        for candidate in fragment.candidates:
            if candidate.sdpMid not in medias:
                raise InvalidFragment(
                    f"the offer has no media {candidate.sdpMid!r}, only {', '.join(medias)}"
                )
        if self._count + len(fragment.candidates) > MAX_CANDIDATES:
            raise InvalidFragment(f"got more than {MAX_CANDIDATES} candidates")
        self._count += len(fragment.candidates)
        mains = _mains(description)
        usable = [candidate for candidate in fragment.candidates if candidate.protocol.lower() == "udp"]
        known = [replace(one, sdpMid=mains.get(one.sdpMid or "", one.sdpMid)) for one in usable]
        ends = [None] if fragment.is_complete else []
        # Begun in this order, so that the end comes after them all, though addresses are looked up meanwhile.
        await asyncio.gather(*(self._pc.addIceCandidate(one) for one in [*known, *ends]))


def _check_credentials(fragment: Fragment, medias: list[MediaDescription]) -> None:
    """aioice keeps the credentials of a connection for its life, so other ones cannot be taken."""
    known = {(media.ice.usernameFragment, media.ice.password) for media in medias if media.ice}
    if fragment.ufrag is not None and fragment.ufrag not in {ufrag for ufrag, _ in known}:
        raise RestartNotSupported
    if fragment.password is not None and fragment.password not in {password for _, password in known}:
        raise RestartNotSupported


def _mains(description: SessionDescription) -> dict[str, str]:
    """For each media of a bundle the first of it: aiortc ignores candidates of the others."""
    bundles = [[str(mid) for mid in group.items] for group in description.group if group.semantic == "BUNDLE"]
    return {mid: bundle[0] for bundle in bundles for mid in bundle}


def _candidate(value: str, line: int) -> RTCIceCandidate:
    try:
        candidate = candidate_from_sdp(value)
        if not MDNS_NAME.fullmatch(candidate.ip):
            ipaddress.ip_address(candidate.ip)
    except (AssertionError, IndexError, ValueError) as error:
        raise InvalidFragment(f"line {line}: this is no candidate: {value[:80]!r}") from error
    if candidate.type not in TYPES or not 0 < candidate.port < 65536:
        raise InvalidFragment(f"line {line}: this is no candidate: {value[:80]!r}")
    return candidate
