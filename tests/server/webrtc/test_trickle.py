"""Candidates that come after the offer: their reading, and their way by PATCH into a real connection."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from aiortc import RTCIceCandidate, RTCIceParameters, RTCSessionDescription

from server.settings import Settings
from server.webrtc.aiortc_patches.ice_restart import RestartRefused
from server.webrtc.aiortc_patches.udp_ports import NoUdpPort
from server.webrtc.candidates import MAX_CANDIDATES
from server.webrtc.trickle import (
    MAX_FORMER,
    MAX_LINES,
    InvalidFragment,
    Trickle,
    parse_fragment,
)
from server.webrtc.whep import NO_VIEWER
from tests.server.running import RunningServer, Viewer, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.offers import offer_of, published
from tests.server.webrtc.watching import Watcher

NO_PATH_S = 0.5
CANDIDATE = "a=candidate:1 1 udp 2130706431 192.0.2.1 {port} typ host"
FRAGMENT = (
    "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
)


def test_a_fragment_is_read_as_rfc_8840_has_it():
    fragment = parse_fragment(FRAGMENT + CANDIDATE.format(port=5000) + "\r\na=end-of-candidates\r\n")
    assert (fragment.ufrag, fragment.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    (candidate,) = fragment.candidates
    assert (candidate.ip, candidate.port, candidate.sdpMid) == ("192.0.2.1", 5000, "0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither candidates nor"),
        ("hello", "line 1: this is no SDP"),
        (CANDIDATE.format(port=5000), "line 1: a candidate before any a=mid"),
        (FRAGMENT + "a=candidate:1 1 udp", "line 5: this is no candidate"),
        (FRAGMENT + CANDIDATE.format(port=70000), "line 5: this is no candidate"),
        (FRAGMENT + "a=candidate:1 1 udp 1 example.org 5000 typ host", "line 5: this is no candidate"),
        (FRAGMENT + "a=ice-ufrag:other", "line 5: another ice-ufrag"),
        ("a=x\n" * 300, "at most 256"),
    ],
)
def test_a_bad_fragment_is_named(text, words):
    with pytest.raises(InvalidFragment, match=words):
        parse_fragment(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (FRAGMENT, 0),
        ("a=end-of-candidates\n", 0),
        ("a=mid:0\n" + CANDIDATE.format(port=1), 1),
        ("a=mid:0\n" + CANDIDATE.format(port=65535), 1),
    ],
)
def test_credentials_or_candidates_or_their_end_are_enough(text, count):
    fragment = parse_fragment(text)
    assert len(fragment.candidates) == count
    assert (fragment.ufrag is None) == (fragment.password is None) == (text != FRAGMENT)


def test_a_candidate_is_of_the_media_last_named_and_others_are_passed_over():
    one = CANDIDATE.format(port=5000)
    lines = ["a=mid:0", one, "", "a=group:BUNDLE 0 1", "a=mid:1", one, one, "m=video 9 UDP/TLS/RTP/SAVPF 0"]
    assert [c.sdpMid for c in parse_fragment("\n".join(lines)).candidates] == ["0", "1", "1"]
    with pytest.raises(InvalidFragment, match="line 9: a candidate before any a=mid"):
        parse_fragment("\n".join([*lines, one]))


@pytest.mark.parametrize("candidate", [CANDIDATE.format(port=0), CANDIDATE.replace("typ host", "typ other")])
def test_a_candidate_that_leads_nowhere_is_refused(candidate):
    with pytest.raises(InvalidFragment, match="line 2: this is no candidate"):
        parse_fragment("a=mid:0\n" + candidate.format(port=5000))


def test_as_many_lines_as_allowed_are_read():
    lines = ["a=end-of-candidates", *["a=x"] * (MAX_LINES - 1)]
    assert parse_fragment("\n".join(lines)).candidates == ()
    with pytest.raises(InvalidFragment, match=f"got {MAX_LINES + 1} lines"):
        parse_fragment("\n".join([*lines, "a=x"]))


def test_hidden_addresses_of_browsers_are_candidates():
    text = FRAGMENT + "a=candidate:1 1 UDP 1 3f2c-9a.local 5000 typ host generation 0"
    assert parse_fragment(text).candidates[0].ip == "3f2c-9a.local"


def split(sdp: str) -> tuple[str, list[str]]:
    """A description without its candidates, and these."""
    lines = sdp.splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate")]
    kept = [line for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates"))]
    return "\r\n".join(kept) + "\r\n", candidates


class Trickler:
    """A client whose offer had no candidates and who ignores the server's: only a PATCH connects it."""

    def __init__(self, server: RunningServer, client: Viewer | Watcher) -> None:
        self._server = server
        self.client = client
        self.etag = ""
        self.candidates: list[str] = []
        self.head = ""

    async def begin(self) -> "Trickler":
        offer, self.candidates = split(await self.client.offer())
        mid = re.findall("a=mid:(.*)", offer)[0].strip()
        credentials = [line for line in offer.splitlines() if line.startswith(("a=ice-ufrag", "a=ice-pwd"))]
        self.head = "\r\n".join([*credentials[:2], "m=video 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}", ""])
        response = await self.client.post(offer)
        assert response.status == 201
        self.client.location, self.etag = response.headers["Location"], response.headers["ETag"]
        answer, _ = split(await response.text())
        await self.client.pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        return self

    async def patch(self, body: str, **headers: str) -> tuple[int, str]:
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": self.etag} | headers
        headers = {name: value for name, value in headers.items() if value}
        url = self._server.url + self.client.location
        async with self._server.http.patch(url, data=body.encode(), headers=headers) as response:
            return response.status, await response.text()

    async def trickle(self) -> tuple[int, str]:
        """All candidates, and that there are no more."""
        return await self.patch(self.head + "\r\n".join([*self.candidates, "a=end-of-candidates", ""]))


async def test_a_publisher_connects_by_trickled_candidates_alone(server):
    viewer = Viewer(server.url, server.http)
    try:
        trickler = await Trickler(server, viewer).begin()
        assert await trickler.trickle() == (204, "")
        await until(lambda: viewer.pc.connectionState == "connected", "it connects")
        await viewer.live()
    finally:
        await viewer.close()


async def test_who_watches_connects_by_trickled_candidates_alone(server):
    async with server.viewer() as publisher:
        watcher = Watcher(server, id_of(publisher))
        try:
            trickler = await Trickler(server, watcher).begin()
            await asyncio.sleep(NO_PATH_S)
            assert watcher.pc.connectionState != "connected", "neither side knows where the other is"
            assert await trickler.trickle() == (204, "")
            await until(lambda: len(watcher.frames) > 3, "pictures")
            assert (await trickler.patch(trickler.head, **{"If-Match": '"other"'}))[0] == 412
            assert await watcher.delete() == 200
            assert await trickler.patch(trickler.head) == (404, NO_VIEWER)
        finally:
            await watcher.close()


TCP_ALONE = "a=candidate:1 1 tcp 1015021823 192.0.2.7 9 typ host tcptype active\r\n"
NO_SUCH_NAME = "a=candidate:1 1 udp 1015021823 6a1e2d3c-0000-4000-8000-0123456789ab.local 9 typ host\r\n"


@pytest.mark.parametrize("candidates", ["", TCP_ALONE, NO_SUCH_NAME], ids=["none", "TCP", "hidden"])
@pytest.mark.parametrize("is_trickled", [False, True], ids=["offered", "trickled"])
async def test_law_a_client_whose_last_candidate_is_of_no_use_is_found_by_its_checks(
    server, candidates, is_trickled
):
    """Its own address nobody told: it knows the server's."""
    viewer, last = Viewer(server.url, server.http), candidates + "a=end-of-candidates\r\n"
    try:
        offer, _ = split(await viewer.offer())
        first, second, *rest = re.split("(?=m=)", offer)
        told = first + second + ("" if is_trickled else last) + "".join(rest)
        response = await viewer.post(told)
        assert response.status == 201, await response.text()
        viewer.location = response.headers["Location"]
        if is_trickled:
            headers = {
                "Content-Type": "application/trickle-ice-sdpfrag",
                "If-Match": response.headers["ETag"],
            }
            async with server.http.patch(
                server.url + viewer.location, data=f"a=mid:0\r\n{last}".encode(), headers=headers
            ) as patched:
                assert patched.status == 204, await patched.text()
        answer = RTCSessionDescription(sdp=await response.text(), type="answer")
        await viewer.pc.setRemoteDescription(answer)
        await until(lambda: viewer.pc.connectionState == "connected", "it connects")
    finally:
        await viewer.close()


async def test_what_cannot_be_taken_is_refused_with_a_reason(server):
    trickler = await Trickler(server, Viewer(server.url, server.http)).begin()
    try:
        good = trickler.head + CANDIDATE.format(port=5000)
        assert (await trickler.patch(good, **{"Content-Type": "application/sdp"}))[0] == 415
        assert (await trickler.patch(good, **{"If-Match": ""}))[0] == 428
        assert (await trickler.patch(good, **{"If-Match": '"other"'}))[0] == 412
        assert (await trickler.patch("hello"))[0] == 400
        status, words = await trickler.patch(FRAGMENT, **{"If-Match": "*"})
        assert status == 409 and "no ICE session yet that could be restarted" in words
        status, words = await trickler.patch(FRAGMENT.replace("P2uYro0UCOQ4zxjKXaWCBui1", "short"))
        assert status == 400 and "expected 4 and 22 to 256 letters" in words
        status, words = await trickler.patch("a=ice-ufrag:EsAw")
        assert status == 400 and "a new ice-ufrag and a new ice-pwd, both" in words
        other = re.sub("a=mid:.*", "a=mid:nine", trickler.head) + CANDIDATE.format(port=5000)
        status, words = await trickler.patch(other)
        assert status == 400 and "the offer has no media 'nine'" in words
        many = [CANDIDATE.format(port=5000 + number) for number in range(MAX_CANDIDATES + 1)]
        assert (await trickler.patch(trickler.head + "\r\n".join(many)))[0] == 400
        assert (await trickler.patch(good))[0] == 204, "none of it has harmed the session"
        assert await trickler.client.delete() == 200
        assert (await trickler.patch(good))[0] == 404
    finally:
        await trickler.client.close()


async def test_candidates_of_one_ice_session_are_bounded_over_all_patches(server):
    trickler = await Trickler(server, Viewer(server.url, server.http)).begin()

    def some(count: int) -> str:
        lines = [CANDIDATE.format(port=5000 + number) for number in range(count)]
        return trickler.head + "\r\n".join([*lines, ""])

    try:
        assert await trickler.patch(some(MAX_CANDIDATES // 2)) == (204, "")
        assert await trickler.patch(some(MAX_CANDIDATES // 2)) == (204, "")
        status, words = await trickler.patch(some(1))
        assert status == 400 and f"got more than {MAX_CANDIDATES} candidates" in words
        assert await trickler.client.delete() == 200
    finally:
        await trickler.client.close()


class Ice:
    """Notes what a restart asks of it; `error` is raised instead of beginning one."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.candidates, self.added, self.gone_over, self.abandoned = [OURS], [], [], 0

    async def prepare(self, servers: object) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        mine = RTCIceParameters(usernameFragment="mine", password="p" * 22)
        return SimpleNamespace(getLocalParameters=lambda: mine, getLocalCandidates=lambda: self.candidates)

    def go_over(self, remote: RTCIceParameters, candidates: list, patience: float) -> None:
        self.gone_over.append((remote.usernameFragment, len(candidates), patience))

    async def add_candidate(self, candidate: object) -> None:
        self.added.append(candidate)

    async def abandon(self) -> None:
        self.abandoned += 1


OURS = RTCIceCandidate(
    component=1, foundation="1", ip="192.0.2.9", port=9, priority=1, protocol="udp", type="host"
)


class Trickled:
    """A Trickle on an offer with two media in one bundle, and what it has handed on."""

    def __init__(self, offer: str, settings: Settings) -> None:
        self.handed: list = []
        read = published(split(offer)[0])
        pc = SimpleNamespace(
            remoteDescription=SimpleNamespace(sdp=read.sdp),
            addIceCandidate=self._add_ice_candidate,
            getTransceivers=list,
            sctp=None,
        )
        self.trickle, self.ice = Trickle(pc, settings), Ice()  # pyright: ignore[reportArgumentType]
        self.trickle.begin(read)
        self.trickle._ice = self.ice  # pyright: ignore[reportAttributeAccessIssue]

    async def _add_ice_candidate(self, candidate: object) -> None:
        self.handed.append(candidate)

    async def add(self, count: int, ufrag: str = "", *lines: str, mid: str = "0") -> str | None:
        """So many candidates, of a restart with these credentials if there is a name."""
        head = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{ufrag * 6}"] if ufrag else []
        candidates = [CANDIDATE.format(port=5000 + number) for number in range(count)]
        text = "\n".join([*head, f"a=mid:{mid}", *candidates, *lines, "a=end-of-candidates" * (not lines)])
        return await self.trickle.add(parse_fragment(text))


@pytest.fixture
async def trickled(settings):
    return Trickled(await offer_of(("video", "sendrecv"), ("audio", "sendrecv")), settings)


async def test_each_ice_session_has_its_own_count_of_candidates(trickled):
    for ufrag in ("", "one1", "two2"):
        assert (await trickled.add(MAX_CANDIDATES - 1, ufrag) is None) == (not ufrag)
        await trickled.add(1, ufrag)
        with pytest.raises(InvalidFragment, match=f"more than {MAX_CANDIDATES} candidates"):
            await trickled.add(1, ufrag)
    with pytest.raises(InvalidFragment, match=f"more than {MAX_CANDIDATES} candidates"):
        await trickled.add(MAX_CANDIDATES + 1, "thr3")
    assert [ufrag for ufrag, *_ in trickled.ice.gone_over] == ["one1", "two2"]


async def test_a_restart_that_is_refused_changes_nothing(trickled, settings):
    etag = trickled.trickle.etag
    await trickled.add(MAX_CANDIDATES)
    trickled.ice.error = RestartRefused("another one is under way")
    with pytest.raises(RestartRefused):
        await trickled.add(0, "one1")
    with pytest.raises(InvalidFragment, match="more than"):
        await trickled.add(1)
    assert trickled.trickle.etag == etag and trickled.ice.gone_over == []


async def test_a_restart_without_a_port_is_abandoned(settings):
    ranged = settings.model_copy(update={"udp_ports": (50_000, 50_001)})
    trickled = Trickled(await offer_of(("video", "sendrecv")), ranged)
    trickled.ice.candidates = []
    etag = trickled.trickle.etag
    with pytest.raises(NoUdpPort):
        await trickled.add(0, "one1")
    assert trickled.ice.abandoned == 1 and trickled.ice.gone_over == [] and trickled.trickle.etag == etag


async def test_a_restart_has_another_etag_and_takes_the_candidates_that_follow(trickled, settings):
    first = trickled.trickle.etag
    await trickled.add(2)
    assert trickled.trickle.etag == first and len(trickled.handed) == 2
    answer = await trickled.add(2, "one1")
    assert "a=ice-ufrag:mine" in answer and "192.0.2.9 9 typ host" in answer
    assert trickled.trickle.etag != first and trickled.ice.abandoned == 0
    assert trickled.ice.gone_over == [("one1", 2, settings.peer_timeout)]
    assert await trickled.add(3, "one1") is None
    assert len(trickled.ice.added) == 3 and len(trickled.handed) == 2


async def test_late_candidates_of_former_ice_sessions_are_known_for_what_they_are(trickled):
    for name in ("one1", "two2", "thr3"):
        await trickled.add(0, name)
    for name in ("one1", "two2"):
        with pytest.raises(InvalidFragment, match="before the newest"):
            await trickled.add(1, name)
    assert await trickled.add(1, "thr3") is None
    for number in range(MAX_FORMER):
        await trickled.add(0, f"n{number:03}")
    assert await trickled.add(0, "two2") is not None, "as many are known as may be, and then it is a new one"


async def test_candidates_are_of_the_media_that_stands_for_its_bundle_and_of_udp(trickled):
    await trickled.add(1, "", CANDIDATE.format(port=9).replace(" udp ", " tcp "), mid="1")
    (one,) = trickled.handed
    assert (one.sdpMid, one.port) == ("0", 5000)


async def test_media_without_a_bundle_are_not_restarted(trickled):
    trickled.trickle._ice = None
    with pytest.raises(RestartRefused, match="bundled"):
        await trickled.add(0, "one1")
    assert await trickled.add(1) is None and trickled.handed
