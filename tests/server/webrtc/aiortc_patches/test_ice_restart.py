"""A connection goes over to another path by PATCH, or stays where it is: with real sockets on both sides."""

import asyncio
import inspect
import re

import aioice.ice
import aiortc.rtcdtlstransport
import aiortc.rtcicetransport
import aiortc.rtcpeerconnection
import pytest
from aioice import Connection, ConnectionClosed
from aiortc import RTCIceParameters, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_to_sdp

from server.settings import load_settings
from server.webrtc.aiortc_patches import ice_restart
from server.webrtc.aiortc_patches.ice_restart import (
    RestartableIce,
    RestartRefused,
    RestartTooSoon,
    restartable,
)
from server.webrtc.trickle import parse_fragment
from tests.server.running import CAMERA_FPS, PATIENCE_S, RunningServer, Viewer, running_server, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.aiortc_patches.test_udp_ports import free_port
from tests.server.webrtc.test_trickle import CANDIDATE, FRAGMENT
from tests.server.webrtc.watching import Watcher

RESTART_PATIENCE_S = 4.0
MOMENT_S = 0.1


@pytest.fixture
def settings(monkeypatch):
    """A restart that does not connect is given up soon, and a path that is left is closed soon."""
    monkeypatch.setattr(ice_restart, "LINGER_S", MOMENT_S)
    return load_settings({"max_fps": CAMERA_FPS, "peer_timeout": RESTART_PATIENCE_S})


class Restarter:
    """A client that can restart its ICE, too."""

    def __init__(self, server: RunningServer, client: Viewer | Watcher) -> None:
        self._server, self.client = server, client
        self.states: list[str] = []
        self.etag = ""

    async def begin(self) -> "Restarter":
        response = await self.client.post(await self.client.offer())
        assert response.status == 201, await response.text()
        self.client.location, self.etag = response.headers["Location"], response.headers["ETag"]
        answer = RTCSessionDescription(sdp=await response.text(), type="answer")
        await self.client.pc.setRemoteDescription(answer)
        ice = restartable(self.client.pc)  # it begins to connect when this task waits next
        assert ice is not None
        self.ice = ice
        await until(lambda: self.client.pc.connectionState == "connected", "it connects")
        self.client.pc.on("connectionstatechange", lambda: self.states.append(self.client.pc.connectionState))
        return self

    async def patch(self, body: str, match: str = "*") -> tuple[int, str, str]:
        """Status, text, and the ETag or when to retry."""
        headers = {"Content-Type": "application/trickle-ice-sdpfrag"} | ({"If-Match": match} if match else {})
        url = self._server.url + self.client.location
        async with self._server.http.patch(url, data=body.encode(), headers=headers) as response:
            what = response.headers.get("ETag") or response.headers.get("Retry-After", "")
            return response.status, await response.text(), what

    async def restart(self, match: str = "*", *, trickled: bool = False, cut: bool = False) -> Connection:
        """By PATCH, which must succeed; the path that was in use. `cut`: until just before."""
        left, ice = self.ice._current, self.ice
        gatherer = await ice.prepare([])
        if cut:
            await left.close()
        mine = gatherer.getLocalParameters()
        head = f"a=ice-ufrag:{mine.usernameFragment}\r\na=ice-pwd:{mine.password}\r\n"
        candidates = [f"a=candidate:{candidate_to_sdp(one)}" for one in gatherer.getLocalCandidates()]
        media = "\r\n".join(["m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates, ""])
        status, text, etag = await self.patch(head if trickled else head + media, match)
        assert status == 200, text
        assert etag and etag != self.etag
        self.etag = etag
        if trickled:
            assert (await self.patch(head + media, etag))[0] == 204
        theirs = parse_fragment(text)
        assert re.match(r"a=group:BUNDLE 0( 1)?\r\nm=video 9 UDP/TLS/RTP/SAVPF \d+\r\na=mid:0\r\n", text)
        assert theirs.ufrag != left.remote_username and theirs.password and theirs.candidates
        assert {one.sdpMid for one in theirs.candidates} == {"0"} and "a=end-of-candidates\r\n" in text
        remote = RTCIceParameters(usernameFragment=theirs.ufrag, password=theirs.password)
        ice.go_over(remote, theirs.candidates, PATIENCE_S)
        return left

    async def arrived(self, left: Connection) -> None:
        """Once everything goes over the new path, and the sockets of the old one are closed."""
        await until(lambda: self.ice._current is not left, "the new path is found")
        await until(lambda: not left._protocols, "the old path is closed")


def running() -> set[str]:
    """The tasks of ICE connections, whoever's."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return {name for name in names if name.startswith(("RestartableIce.", "Connection.", "StunProtocol."))}


async def test_pictures_and_messages_go_on_over_the_new_path(server, engine, monkeypatch):
    viewer = Viewer(server.url, server.http)
    try:
        restarter = await Restarter(server, viewer).begin()
        await viewer.live()
        for number, is_cut in enumerate([False, True]):
            with monkeypatch.context() as patch:
                patch.setattr(ice_restart, "REST_S", 0.0)  # the one before need not be long ago
                left = await restarter.restart(cut=is_cut, trickled=is_cut)
            assert (await restarter.patch(FRAGMENT))[0] in (409, 429), "one at a time, and not too often"
            await restarter.arrived(left)
            viewer.frames.clear()
            seen = len(viewer.telemetry)
            viewer.send({"type": "prompt.set", "id": f"p{number}", "text": "gold"})
            await viewer.message("applied", id=f"p{number}")
            await until(lambda: len(viewer.frames) > 20, "pictures go on")
            await until(lambda seen=seen: len(viewer.telemetry) > seen + 1, "so do figures")
        assert restarter.states == [], "neither ICE nor DTLS has noticed"
        assert len(viewer.received("hello")) == 1 and len(engine.streams) == 1, "it is the same session"
        assert await viewer.delete() == 200
        await until(lambda: viewer.pc.connectionState == "closed", "DTLS says so over the new path")
    finally:
        await viewer.close()


async def test_who_watches_can_restart_too(server):
    async with server.viewer() as publisher:
        watcher = Watcher(server, id_of(publisher))
        try:
            restarter = await Restarter(server, watcher).begin()
            await restarter.arrived(await restarter.restart())
            watcher.frames.clear()
            await until(lambda: len(watcher.frames) > 20, "pictures go on")
            assert restarter.states == []
        finally:
            await watcher.close()


async def test_a_restart_that_never_connects_changes_nothing(server, caplog):
    """Who asked for it may try again."""
    caplog.set_level("INFO")
    viewer = Viewer(server.url, server.http)
    try:
        restarter = await Restarter(server, viewer).begin()
        body, first = FRAGMENT + CANDIDATE.format(port=5000) + "\r\n", restarter.etag
        assert (await restarter.patch(body, ""))[0] == 428
        assert (await restarter.patch(body, '"other"'))[0] == 412
        status, text, etag = await restarter.patch(body)
        assert status == 200 and etag not in ("", first) and "a=candidate:" in text
        status, words, _ = await restarter.patch(body.replace("EsAw", "Xyzw").replace("P2u", "P3u"))
        assert status == 409 and "another ICE restart is under way" in words
        assert (await restarter.patch(body, etag))[:2] == (204, ""), "one more candidate of it"
        assert (await restarter.patch(body, first))[0] == 412
        old = re.findall("a=ice-ufrag:(.*)", viewer.pc.localDescription.sdp)[0].strip()
        status, words, _ = await restarter.patch(body.replace("EsAw", old))
        assert status == 400 and "of an ICE session before the newest" in words
        await until(lambda: "An ICE restart has failed" in caplog.text, "it is given up")
        viewer.frames.clear()
        await until(lambda: len(viewer.frames) > 20, "pictures go on where they were")
        assert (await restarter.patch(body, etag))[:2] == (204, ""), "too late, but no harm"
        await restarter.arrived(await restarter.restart(etag))
        viewer.frames.clear()
        await until(lambda: len(viewer.frames) > 20, "pictures go on over the new path")
        assert restarter.states == []
    finally:
        await viewer.close()
    await server.empty()
    await until(lambda: not running(), "nothing is left of any path")


async def test_without_a_free_port_there_is_no_restart(engine, monkeypatch):
    port = free_port()
    settings = load_settings({"max_fps": CAMERA_FPS, "udp_ports": f"{port}-{min(port + 20, 65535)}"})
    async with running_server(settings, engine) as server:
        viewer = Viewer(server.url, server.http)
        try:
            restarter = await Restarter(server, viewer).begin()
            monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
            assert await restarter.patch(FRAGMENT) == (503, "no UDP port is free for media", "2")
            status, words, seconds = await restarter.patch(FRAGMENT)
            assert (status, seconds) == (429, "2") and "ask again in" in words
            await viewer.live()
        finally:
            await viewer.close()


async def connected() -> tuple[RestartableIce, Connection]:
    """Both ends of one."""
    ours, theirs = Connection(ice_controlling=False), Connection(ice_controlling=True)
    ice = RestartableIce(ours)
    await asyncio.gather(ice.gather_candidates(), theirs.gather_candidates())
    for one, other in ((ours, theirs), (theirs, ours)):
        for candidate in other.local_candidates:
            await one.add_remote_candidate(candidate)
        await one.add_remote_candidate(None)
    ice.remote_username, ice.remote_password = theirs.local_username, theirs.local_password
    theirs.remote_username, theirs.remote_password = ice.local_username, ice.local_password
    await asyncio.gather(ice.connect(), theirs.connect())
    return ice, theirs


async def test_a_path_that_is_lost_while_a_restart_is_under_way_is_waited_for():
    ice, theirs = await connected()
    await ice.prepare([])
    receiving, ending = asyncio.create_task(ice.recv()), asyncio.create_task(ice.get_event())
    await theirs.send(b"one")
    assert await receiving == b"one"
    receiving = asyncio.create_task(ice.recv())
    await ice._current.close()
    await asyncio.sleep(MOMENT_S)
    await ice.send(b"lost on the way")
    assert not receiving.done() and not ending.done()
    late = asyncio.create_task(ice.recv())
    await asyncio.sleep(MOMENT_S)
    assert not late.done(), "nor is one that comes later told so"
    late.cancel()
    await ice.abandon()
    with pytest.raises(ConnectionError):
        await receiving
    assert isinstance(await ending, ConnectionClosed)
    with pytest.raises(ConnectionError):
        await ice.send(b"")
    with pytest.raises(RestartRefused, match="or it is over"):
        await ice.prepare([])
    await asyncio.gather(ice.close(), theirs.close())


class Path:
    """An aioice connection that receives what it is given, then is lost. Of all who send empty datagrams,
    asyncio is none."""

    def __init__(self, *datagrams: bytes) -> None:
        self._datagrams = list(datagrams)

    async def connect(self) -> None:
        pass

    async def recv(self) -> bytes:
        if not self._datagrams:
            raise ConnectionError
        return self._datagrams.pop(0)

    async def close(self) -> None:
        pass


async def test_an_empty_datagram_is_left_out():
    ice = RestartableIce(Path(b"one", b"", b"two", b""))  # pyright: ignore[reportArgumentType]
    await ice.connect()
    assert [await ice.recv(), await ice.recv()] == [b"one", b"two"]
    with pytest.raises(ConnectionError):
        await ice.recv()
    await ice.close()


async def test_restarts_have_a_rest_between_them(monkeypatch):
    ice, theirs = await connected()
    await ice.prepare([])
    with pytest.raises(RestartRefused, match="under way"):
        await ice.prepare([])
    await ice.abandon()
    with pytest.raises(RestartTooSoon) as refused:
        await ice.prepare([])
    assert 0 < refused.value.seconds <= ice_restart.REST_S
    monkeypatch.setattr(ice_restart, "REST_S", 0)
    await ice.prepare([])
    await asyncio.gather(ice.close(), theirs.close())
    await ice.close()


async def test_media_with_transports_of_their_own_are_not_restarted():
    pc = RTCPeerConnection()
    pc.addTransceiver("video")
    pc.addTransceiver("audio")
    assert restartable(pc) is None
    await pc.close()


async def test_it_has_all_that_aiortc_uses_of_a_connection():
    """Fails if aiortc uses more of it, or no longer keeps it where it is replaced."""
    names = (aiortc.rtcicetransport, aiortc.rtcdtlstransport, aiortc.rtcpeerconnection)
    source = "".join(map(inspect.getsource, names))
    used = set(re.findall(r"\._connection\.(\w+)", source))
    ice = RestartableIce(Connection(ice_controlling=False))
    assert {"recv", "send", "connect", "close", "get_event", "remote_username"} <= used
    assert [name for name in used if not hasattr(ice, name)] == []
    held = re.findall(r"self\.(\w+) = (?:self\._connection|gatherer\._connection|Connection\()[\w.]*", source)
    assert sorted(held) == ["_connection", "_connection", "_recv", "_send"]
