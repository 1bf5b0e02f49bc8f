"""Candidates that come after the offer: their reading, and their way by PATCH into a real connection."""

import asyncio
import re

import pytest
from aiortc import RTCSessionDescription

from server.webrtc.trickle import MAX_CANDIDATES, MAX_LINES, InvalidFragment, parse_fragment
from server.webrtc.whep import NO_VIEWER
from tests.server.running import RunningServer, Viewer, until
from tests.server.transport.test_peer_registry import id_of
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
    assert fragment.is_complete


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
    ("text", "count", "is_complete"),
    [
        (FRAGMENT, 0, False),
        ("a=end-of-candidates\n", 0, True),
        ("a=mid:0\n" + CANDIDATE.format(port=1), 1, False),
        ("a=mid:0\n" + CANDIDATE.format(port=65535), 1, False),
    ],
)
def test_credentials_or_candidates_or_their_end_are_enough(text, count, is_complete):
    fragment = parse_fragment(text)
    assert (len(fragment.candidates), fragment.is_complete) == (count, is_complete)
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
    assert parse_fragment("\n".join(lines)).is_complete
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
