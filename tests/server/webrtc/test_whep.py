"""Watching a session of somebody else: the WHEP endpoint over real HTTP and WebRTC."""

import numpy as np
import pytest
from aioice import stun
from aiortc import RTCConfiguration, RTCPeerConnection

from server.settings import load_settings
from tests.server.fakes import HEIGHT, WIDTH
from tests.server.running import CAMERA_FPS, Camera, running_server, until
from tests.server.test_obs import publish
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.offers import offer_of
from tests.server.webrtc.watching import HEADERS, Watcher, until_viewers, viewers, watcher


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that chunks are short."""
    return load_settings({"max_fps": CAMERA_FPS, "max_sessions": 1, "max_viewers": 2})


def reds(frames) -> list[int]:
    """The fake engine counts frames in red."""
    return [round(f.to_ndarray(format="rgb24")[..., 0].mean()) for f in frames]


async def test_viewers_see_the_sessions_pictures_and_take_no_place(server, engine):
    async with server.viewer() as publisher:
        await publisher.live()
        id = id_of(publisher)
        async with watcher(server, id, audio=True) as first, watcher(server, id) as second:
            await until(lambda: min(len(first.frames), len(second.frames)) > 40, "pictures for both")
            for seen in (first, second):
                assert {(f.width, f.height) for f in seen.frames} == {(WIDTH, HEIGHT)}
                assert len(set(reds(seen.frames[5:35]))) > 10, "they move"
                assert np.diff([f.pts for f in seen.frames]).min() > 0
            assert (await server.json("/api/info"))["sessions"] == 1 and await viewers(server) == 2
            assert len(engine.streams) == 1
        publisher.frames.clear()
        await until(lambda: len(publisher.frames) > 40, "the publisher's go on")


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_turned_picture_comes_by_the_same_tracks_with_either_codec(engine, codec):
    """Turned by HTTP, and back. The encoders are opened anew, which begins with a key frame."""
    settings = load_settings({"max_fps": CAMERA_FPS, "codecs": [codec]})
    async with running_server(settings, engine) as server, server.viewer() as publisher:
        await publisher.live()
        id = id_of(publisher)
        async with watcher(server, id) as seen:
            await until(lambda: len(seen.frames) > 5, "pictures")
            for number, (orientation, size) in enumerate(
                [("upright", (HEIGHT, WIDTH)), ("wide", (WIDTH, HEIGHT))]
            ):
                command = {"type": "shape.set", "id": f"s{number}", "orientation": orientation}
                async with server.http.post(f"{server.url}/sessions/{id}/commands", json=command) as answer:
                    assert answer.status == 200
                    assert (await answer.json())["replies"][0]["type"] == "ack"
                for frames in (publisher.frames, seen.frames):
                    await until(
                        lambda frames=frames, size=size: (frames[-1].width, frames[-1].height) == size,
                        f"{orientation} pictures",
                    )
            pts = [frame.pts for frame in seen.frames]
            assert np.diff(pts).min() > 0, "one media clock"


async def test_a_session_that_only_sends_can_be_watched(server):
    peer, camera = RTCPeerConnection(RTCConfiguration(iceServers=[])), Camera()
    try:
        location = await publish(server, peer, camera)
        async with watcher(server, location.rpartition("/")[2]) as seen:
            await until(lambda: len(set(reds(seen.frames[-30:]))) > 10, "pictures that move")
    finally:
        camera.stop()
        await peer.close()


async def test_created_viewer_has_location_etag_and_links(engine, monkeypatch):
    monkeypatch.setattr(stun, "RETRY_MAX", 0)  # nobody listens at that port, which need not take 5 seconds
    settings = load_settings({"ice_servers": ["stun:127.0.0.1:9"]})
    async with running_server(settings, engine) as server, server.viewer() as publisher:
        id = id_of(publisher)
        async with server.http.options(f"{server.url}/sessions/{id}/whep") as response:
            assert response.status == 200 and response.headers["Accept-Post"] == "application/sdp"
            assert response.headers["Link"] == '<stun:127.0.0.1:9>; rel="ice-server"'
        offer = await offer_of(("video", "recvonly"))
        async with server.http.post(
            f"{server.url}/sessions/{id}/whep", data=offer, headers=HEADERS
        ) as response:
            assert response.status == 201 and response.content_type == "application/sdp"
            location = response.headers["Location"]
            assert location.startswith(f"/sessions/{id}/whep/") and len(location.rpartition("/")[2]) > 20
            assert response.headers["ETag"] and response.headers["Link"]
        async with server.http.options(server.url + location) as response:
            assert response.status == 200 and response.headers["Allow"] == "DELETE, PATCH, OPTIONS"
            assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "QUERY"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/whip", "DELETE,OPTIONS,POST"),
        ("/whip/some", "DELETE,OPTIONS,PATCH"),
        ("/sessions/some/whep", "OPTIONS,POST"),
        ("/sessions/some/whep/one", "DELETE,OPTIONS,PATCH"),
    ],
)
async def test_addresses_for_sdp_are_not_looked_for_among_the_pages_files(server, method, path, allowed):
    async with server.http.request(method, server.url + path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed


async def test_delete_ends_the_viewer_and_nothing_else(server):
    async with server.viewer() as publisher:
        await publisher.live()
        async with watcher(server, id_of(publisher)) as seen:
            await until(lambda: len(seen.frames) > 3, "pictures")
            assert await seen.delete() == 200
            assert await viewers(server) == 0
            await until(lambda: seen.pc.connectionState == "closed", "the connection is closed")
            assert await seen.delete() == 404
        publisher.frames.clear()
        await until(lambda: len(publisher.frames) > 20, "the publisher's go on")


async def test_viewers_leave_with_the_session(server):
    async with server.viewer() as publisher:
        await publisher.live()
        async with watcher(server, id_of(publisher)) as seen:
            await until(lambda: len(seen.frames) > 3, "pictures")
            assert await publisher.delete() == 200
            await until_viewers(server, 0)
            assert await seen.delete() == 404


async def test_viewers_stay_while_a_lost_peer_may_return(server):
    async with server.viewer() as publisher:
        await publisher.live()
        id = id_of(publisher)
        async with watcher(server, id) as seen:
            await until(lambda: len(seen.frames) > 3, "pictures")
            await publisher.close()
            await server.empty()
            count = len(seen.frames)
            await until(lambda: len(seen.frames) > count + 1, "the last picture stays")
            async with server.viewer(former=id) as again:
                await again.live()
                count = len(seen.frames)
                await until(lambda: len(seen.frames) > count + 20, "and they go on")
            assert np.diff([f.pts for f in seen.frames]).min() > 0


async def test_there_are_as_many_viewers_as_the_setting_says(server):
    async with server.viewer() as publisher:
        id = id_of(publisher)
        async with watcher(server, id), watcher(server, id):
            third = Watcher(server, id)
            response = await third.post(await third.offer())
            assert response.status == 503 and int(response.headers["Retry-After"]) > 0
            assert "2 viewers watch this session already" in await response.text()
            await third.close()


async def test_offers_are_refused_with_a_reason(server):
    async def post(id: str, body: bytes, content_type: str = "application/sdp") -> tuple[int, str]:
        headers = {"Content-Type": content_type}
        async with server.http.post(
            f"{server.url}/sessions/{id}/whep", data=body, headers=headers
        ) as response:
            return response.status, await response.text()

    async with server.viewer() as publisher:
        id = id_of(publisher)
        assert await post("nobody", b"v=0") == (404, "no such session; it may have ended")
        assert await post(id, b"v=0", "text/plain") == (
            415,
            "expected Content-Type application/sdp, got text/plain",
        )
        assert await post(id, b"hello") == (400, "this is no SDP: expected it to begin with v=0")
        assert await post(id, b"\xff\xfe") == (400, "the offer is not UTF-8 text")
        assert (await post(id, b"v" * 100_000))[0] == 413
        assert await viewers(server) == 0


async def test_other_sites_may_watch_if_they_are_allowed(engine):
    settings = load_settings({"allowed_origins": ["https://stage.example"]})
    async with running_server(settings, engine) as server, server.viewer() as publisher:
        url = f"{server.url}/sessions/{id_of(publisher)}/whep"
        asked = {"Origin": "https://stage.example", "Access-Control-Request-Method": "POST"}
        async with server.http.options(url, headers=asked) as response:
            assert response.status == 204
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
        headers = {"Origin": "https://stage.example", **HEADERS}
        offer = await offer_of(("video", "recvonly"))
        async with server.http.post(url, data=offer, headers=headers) as response:
            assert response.status == 201
            assert response.headers["Access-Control-Allow-Origin"] == "https://stage.example"
            assert "Location" in response.headers["Access-Control-Expose-Headers"]
