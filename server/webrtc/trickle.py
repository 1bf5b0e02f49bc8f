"""Trickled ICE candidates: SDP fragments (RFC 8840) of a PATCH, and their way into a connection."""

import asyncio
import re
import secrets
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from aiortc import RTCIceCandidate, RTCIceGatherer, RTCIceParameters, RTCPeerConnection
from aiortc.sdp import SessionDescription, candidate_to_sdp

from server.quotation import shown
from server.settings import Settings
from server.webrtc.aiortc_patches.candidate_addresses import candidates_only_at
from server.webrtc.aiortc_patches.ice_restart import RestartableIce, RestartRefused, restartable
from server.webrtc.aiortc_patches.udp_ports import announced
from server.webrtc.candidates import MAX_CANDIDATES, is_usable, read_candidate
from server.webrtc.ice_servers import rtc_configuration
from server.webrtc.offer import Offer

MAX_LINES = 256
MAX_FORMER = 16  # ICE sessions before the newest whose late candidates are known for what they are
UFRAG, PASSWORD = re.compile(r"[A-Za-z0-9+/]{4,256}"), re.compile(r"[A-Za-z0-9+/]{22,256}")  # RFC 8839, 5.4


class InvalidFragment(Exception):
    """This is no SDP fragment that fits the connection; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What one fragment says. Each candidate has its `sdpMid`."""

    ufrag: str | None
    password: str | None
    candidates: tuple[RTCIceCandidate, ...]


def parse_fragment(text: str) -> Fragment:
    """Read an application/trickle-ice-sdpfrag. Raises InvalidFragment naming the line."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise InvalidFragment(f"got {len(lines)} lines, expected at most {MAX_LINES}")
    found: dict[str, str] = {}
    candidates: list[RTCIceCandidate] = []
    mid: str | None = None
    says_end = False  # that no more candidates will follow, which is of no use to us
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
                says_end = True
            case _ if name.startswith("m="):
                mid = None
            case _ if name and not re.match(r"[a-z]=", name):
                raise InvalidFragment(f'line {number}: this is no SDP: "{shown(line)}"')
            case _:
                pass  # what RFC 8840 allows besides, and what may come after it
    if not found and not candidates and not says_end:
        raise InvalidFragment("it has neither candidates nor ICE credentials")
    return Fragment(
        ufrag=found.get("a=ice-ufrag"),
        password=found.get("a=ice-pwd"),
        candidates=tuple(candidates),
    )


class Trickle:
    """The candidates of one connection that come after its offer, and its ICE restarts.

    trickle = Trickle(pc, settings)
    trickle.begin(offer)           # once the offer is set, before it is answered
    await trickle.add(fragment)
    """

    def __init__(self, pc: RTCPeerConnection, settings: Settings) -> None:
        self.etag = _etag()  # of the newest ICE session
        self._pc = pc
        self._settings = settings
        self._count = 0  # candidates of the newest ICE session
        self._offer: Offer | None = None
        self._ice: RestartableIce | None = None
        self._restarted: tuple[str, str] | None = None  # by the client: its newest ufrag and password
        self._former: deque[str] = deque(maxlen=MAX_FORMER)  # ufrags

    def begin(self, offer: Offer) -> None:
        """Make restarts possible, and go on counting from what the offer has brought."""
        self._ice = restartable(self._pc)
        self._offer, self._count = offer, offer.candidates

    async def add(self, fragment: Fragment) -> str | None:
        """Hand the candidates to ICE; returns when hidden addresses have been looked up, a second at most.

        With new credentials this begins an ICE restart: the fragment to answer is returned, and the path is
        looked for meanwhile. Raises InvalidFragment for media that the offer does not have, for too many
        candidates and for credentials that are neither new nor the newest, RestartRefused, and NoUdpPort for
        a restart; nothing has happened then.
        """
        if self._offer is None:
            raise InvalidFragment("there is no offer yet that it could belong to")
        remote, mids = self._new_credentials(fragment, self._offer), self._offer.mids
        for candidate in fragment.candidates:
            if candidate.sdpMid not in mids:
                named = shown(candidate.sdpMid or "")
                raise InvalidFragment(f"the offer has no media '{named}', only {', '.join(mids)}")
        count = len(fragment.candidates) + (0 if remote else self._count)
        if count > MAX_CANDIDATES:
            raise InvalidFragment(f"got more than {MAX_CANDIDATES} candidates")
        usable = [candidate for candidate in fragment.candidates if is_usable(candidate)]
        with candidates_only_at(self._offer.addresses):
            if remote is not None:
                description = SessionDescription.parse(self._pc.remoteDescription.sdp)
                answer = await self._restart(remote, usable, description)
                self._count = count
                return answer
            self._count = count
            if self._ice is not None and self._restarted is not None:
                await asyncio.gather(*map(self._ice.add_candidate, usable))
                return None
            served = [replace(one, sdpMid=mids[one.sdpMid]) for one in usable if one.sdpMid is not None]
            known = [one for one in served if one.sdpMid is not None]  # not those of a media that was refused
            await asyncio.gather(*map(self._pc.addIceCandidate, known))
            return None

    def _new_credentials(self, fragment: Fragment, offer: Offer) -> RTCIceParameters | None:
        """Those of a restart; None if the fragment is of the newest ICE session."""
        ufrag, password = fragment.ufrag, fragment.password
        known = offer.credentials if self._restarted is None else {self._restarted}
        ufrags, passwords = {one for one, _ in known}, {one for _, one in known}
        if (ufrag is None or ufrag in ufrags) and (password is None or password in passwords):
            return None
        if ufrag in self._former:
            raise InvalidFragment("its ice-ufrag is of an ICE session before the newest")
        if ufrag is None or password is None or ufrag in ufrags or password in passwords:
            raise InvalidFragment("an ICE restart needs a new ice-ufrag and a new ice-pwd, both")
        if not UFRAG.fullmatch(ufrag) or not PASSWORD.fullmatch(password):
            raise InvalidFragment("ice-ufrag and ice-pwd: expected 4 and 22 to 256 letters, digits, + or /")
        return RTCIceParameters(usernameFragment=ufrag, password=password)

    async def _restart(
        self, remote: RTCIceParameters, candidates: list[RTCIceCandidate], offer: SessionDescription
    ) -> str:
        if self._ice is None:
            raise RestartRefused("only a connection whose media are bundled can be restarted")
        gatherer = await self._ice.prepare(rtc_configuration(self._settings).iceServers)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._ice.abandon)
            answer = announced(_fragment(gatherer, offer), self._settings)
            undo.pop_all()
        self._ice.go_over(remote, candidates, self._settings.peer_timeout)
        assert self._offer is not None
        known = self._offer.credentials if self._restarted is None else {self._restarted}
        before = {ufrag for ufrag, _ in known}
        self._former.extend(before)
        self._restarted = remote.usernameFragment or "", remote.password or ""
        self.etag = _etag()
        return answer


def _etag() -> str:
    return f'"{secrets.token_urlsafe(8)}"'


def _fragment(gatherer: RTCIceGatherer, offer: SessionDescription) -> str:
    """The server's side of an ICE restart (RFC 9725, 4.3.3), of the one media that stands for the bundle."""
    mains, local = _mains(offer), gatherer.getLocalParameters()
    main = next(media for media in offer.media if mains.get(media.rtp.muxId) in (None, media.rtp.muxId))
    bundles = [f"a=group:{group}" for group in offer.group if group.semantic == "BUNDLE"]
    candidates = [f"a=candidate:{candidate_to_sdp(one)}" for one in gatherer.getLocalCandidates()]
    lines = [
        *bundles,
        f"m={main.kind} 9 {main.profile} {main.fmt[0] if main.fmt else 0}",
        f"a=mid:{main.rtp.muxId}",
        f"a=ice-ufrag:{local.usernameFragment}",
        f"a=ice-pwd:{local.password}",
        *candidates,
        "a=end-of-candidates",
    ]
    return "\r\n".join(lines) + "\r\n"


def _mains(description: SessionDescription) -> dict[str, str]:
    """For each media of a bundle the first of it: aiortc ignores candidates of the others."""
    bundles = [[str(mid) for mid in group.items] for group in description.group if group.semantic == "BUNDLE"]
    return {mid: bundle[0] for bundle in bundles for mid in bundle}


def _candidate(value: str, line: int) -> RTCIceCandidate:
    try:
        return read_candidate(value)
    except ValueError as error:
        raise InvalidFragment(f'line {line}: this is no candidate: "{shown(value)}"') from error
