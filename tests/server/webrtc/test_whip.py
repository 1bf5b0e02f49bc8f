"""Who may come in, what they get, and how they leave: the WHIP endpoint over real HTTP and WebRTC."""

import asyncio
import re

import aiohttp
import pytest
from aiohttp import web

from server.cors import Origins
from server.settings import load_settings
from server.webrtc.offer import Offer
from server.webrtc.peer import WebRtcPeer
from tests.server.running import CAMERA_FPS, PATIENCE_S, Viewer, running_server, until
from tests.server.webrtc.sdp_texts import CLIENTS


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that chunks are short."""
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS})


async def test_delete_frees_everything_at_once(server, engine):
    async with server.viewer() as viewer:
        await viewer.live()
        assert (await server.json("/api/info"))["sessions"] == 1
        assert await viewer.delete() == 200
        assert (await server.json("/api/info"))["sessions"] == 0
        assert await viewer.delete() == 404
        await until(lambda: viewer.pc.connectionState == "closed", "the server has closed the connection")
        await until(lambda: len(engine.streams) == 0, "the stream is freed")


async def test_law_a_camera_of_too_large_pictures_is_told_why_and_keeps_its_place(server, monkeypatch):
    """With a limit that the test's camera can reach on a busy machine."""
    monkeypatch.setattr("server.media.frames.MAX_CAMERA_PIXELS", 200 * 200)
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.camera.size = (320, 240)
        error = await viewer.message("error", code="rejected", field="camera", value="320x240")
        assert "pixels" in error["expected"]
        await viewer.message("state", state="waiting", detail=error["message"])
        assert error["message"].startswith("the camera's pictures are 320x240: expected ")
        assert (await server.json("/api/info"))["sessions"] == 1
        viewer.messages.clear()
        viewer.camera.size = (160, 120)
        await viewer.live()


async def test_a_viewer_who_just_leaves_frees_the_place(server):
    async with server.viewer() as viewer:
        await viewer.live()
    await server.empty()


@pytest.fixture
def patient(settings):
    """Waits for a peer to connect for longer than any test does, so that only a dismissal frees the place."""
    return settings.model_copy(update={"peer_timeout": 1000 * PATIENCE_S})


async def offer_sent(http: aiohttp.ClientSession, url: str) -> asyncio.Task[aiohttp.ClientResponse]:
    """A viewer's offer on its way to the server."""
    viewer = Viewer(url, http)
    viewer.pc.addTransceiver(viewer.camera)
    await viewer.pc.setLocalDescription(await viewer.pc.createOffer())
    await viewer.close()
    return asyncio.create_task(viewer.post(viewer.pc.localDescription.sdp))


async def test_a_viewer_who_leaves_while_its_offer_is_answered_frees_the_place(
    patient, engine, monkeypatch, caplog
):
    caplog.set_level("INFO")
    is_asked, may_answer = asyncio.Event(), asyncio.Event()
    accept = WebRtcPeer.accept

    async def accept_slowly(peer: WebRtcPeer, offer: Offer) -> str:
        is_asked.set()
        await asyncio.wait_for(may_answer.wait(), 2 * PATIENCE_S)
        return await accept(peer, offer)

    monkeypatch.setattr(WebRtcPeer, "accept", accept_slowly)
    async with running_server(patient, engine) as server, aiohttp.ClientSession() as http:
        offer = await offer_sent(http, server.url)
        await asyncio.wait_for(is_asked.wait(), PATIENCE_S)
        assert (await server.json("/api/info"))["sessions"] == 1
        open_before = server.http_connections()
        offer.cancel()
        await until(lambda: server.http_connections() < open_before, "the server sees it go")
        may_answer.set()
        await server.empty()
    assert "left before it was answered" in caplog.text
    assert "Error handling request" not in caplog.text


async def test_an_answer_that_cannot_be_sent_frees_the_place(patient, engine, monkeypatch, caplog):
    """The connection is lost once the answer is made, just before it is written."""
    caplog.set_level("INFO")

    async def lose_the_connection(
        origins: Origins, request: web.Request, response: web.StreamResponse
    ) -> None:
        if response.status == 201:
            assert request.transport is not None
            request.transport.abort()

    monkeypatch.setattr(Origins, "add_headers", lose_the_connection)
    async with running_server(patient, engine) as server, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await (await offer_sent(http, server.url))
        await server.empty()
    assert "left before it was answered" in caplog.text
    assert "Error handling request" not in caplog.text


async def test_two_viewers_share_the_model_and_the_third_is_told_to_retry(server):
    async with server.viewer() as first, server.viewer() as second:
        await first.live()
        await second.live()
        offer = first.pc.localDescription.sdp
        response = await first.post(offer)
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "all 2 places are taken" in await response.text()
        await first.delete()
        async with server.viewer() as third:
            await third.live()


async def test_a_full_server_lets_those_who_wait_in_first_come_first_served(server):
    async with server.viewer() as first, server.viewer():
        offer = first.pc.localDescription.sdp

        async def ask(name: str) -> tuple[int, str | None, str]:
            async with await first.post(offer, **({"ticket": name * 16} if name else {})) as response:
                if response.status == 201:
                    location, _ = response.headers["Location"], response.release()
                    return 201, location, ""
                assert 0 < int(response.headers["Retry-After"]) < 10
                return response.status, response.headers.get("Queue-Position"), await response.text()

        assert await ask("a") == (
            503,
            "1",
            "all 2 places are taken; you are number 1 of 1 in line: ask again within 10 s",
        )
        assert (await ask("b"))[:2] == (503, "2")
        assert await ask("") == (503, None, "all 2 places are taken, and 2 wait; try again later")
        assert (await ask("c"))[:2] == (503, "3")
        await first.delete()
        assert (await ask("c"))[:2] == (503, "3"), "it is not c's turn"
        assert (await ask(""))[:2] == (503, None)
        status, location, _ = await ask("a")
        assert status == 201
        assert [(await ask(name))[:2] for name in "cb"] == [(503, "2"), (503, "1")]
        async with server.http.delete(server.url + location) as response:
            assert response.status == 200
        assert (await ask("b"))[0] == 201
        assert (await ask("c"))[:2] == (503, "1")


async def test_a_ticket_given_back_lets_the_next_one_move_up(patient, engine):
    async def ask(name: str) -> str:
        async with await viewer.post(offer, ticket=name * 16) as response:
            assert response.status == 503
            return response.headers["Queue-Position"]

    async def leave(ticket: str) -> tuple[int, str]:
        async with server.http.delete(f"{server.url}/whip", params={"ticket": ticket}) as response:
            return response.status, await response.text()

    async with running_server(patient, engine) as server, server.viewer(), server.viewer():
        viewer = Viewer(server.url, server.http)
        offer = await viewer.offer()
        assert [await ask("a"), await ask("b"), await ask("b")] == ["1", "2", "2"]
        assert await leave("a" * 16) == (200, "left the line")
        assert await ask("b") == "1"
        assert await leave("a" * 16) == (404, "nobody waits with this ticket; it may have come in")
        assert (await leave("me"))[0] == 400
        await viewer.close()


async def test_a_ticket_that_could_be_guessed_is_refused(server):
    response = await Viewer(server.url, server.http).post("v=0", ticket="me")
    assert (response.status, await response.text()) == (
        400,
        "ticket: expected 16 to 64 letters, digits, - or _",
    )


async def test_offers_are_refused_with_a_reason(server):
    async def post(body: bytes, content_type: str = "application/sdp") -> tuple[int, str]:
        headers = {"Content-Type": content_type}
        async with server.http.post(server.url + "/whip", data=body, headers=headers) as response:
            return response.status, await response.text()

    assert await post(b"v=0", "text/plain") == (415, "expected Content-Type application/sdp, got text/plain")
    assert await post(b"hello") == (400, "this is no SDP: expected it to begin with v=0")
    assert await post(b"\xff\xfe") == (400, "the offer is not UTF-8 text")
    assert (await post(b"v=0\r\n"))[0] == 400
    assert (await post(b"v" * 100_000))[0] == 413
    assert (await server.json("/api/info"))["sessions"] == 0


async def test_a_full_server_reads_no_offer(server, monkeypatch):
    async with server.viewer() as first, server.viewer():
        with monkeypatch.context() as patch:
            patch.setattr("server.webrtc.whip.read_offer", None)
            response = await first.post("v=0")
        assert response.status == 503 and "all 2 places are taken" in await response.text()


async def test_an_offer_that_cannot_be_read_costs_no_place_in_line(server):
    async with server.viewer() as first, server.viewer():
        offer = first.pc.localDescription.sdp
        assert (await first.post(offer, ticket="a" * 16)).headers["Queue-Position"] == "1"
        await first.delete()
        response = await first.post("v=0", ticket="a" * 16)
        assert response.status == 400
        assert (await first.post(offer, ticket="b" * 16)).headers["Queue-Position"] == "2"
        response = await first.post(offer, ticket="a" * 16)
        assert response.status == 201
        async with server.http.delete(server.url + response.headers["Location"]) as deleted:
            assert deleted.status == 200


@pytest.mark.parametrize("name", CLIENTS)
async def test_publishers_that_nobody_here_wrote_are_let_in(server, name):
    response = await Viewer(server.url, server.http).post(CLIENTS[name])
    assert response.status == 201, await response.text()
    async with server.http.delete(server.url + response.headers["Location"]) as deleted:
        assert deleted.status == 200


async def test_whip_resource_and_options(settings, engine):
    server_settings = load_settings(
        {
            "ice_servers": [
                "stun:127.0.0.1:9",
                {"urls": ["turn:127.0.0.1:9"], "username": "me", "credential": "secret"},
            ]
        }
    )
    async with running_server(server_settings, engine) as server:
        async with server.http.options(server.url + "/whip") as response:
            assert response.headers["Accept-Post"] == "application/sdp"
            links = response.headers.getall("Link")
        assert links[0] == '<stun:127.0.0.1:9>; rel="ice-server"'
        assert 'username="me"; credential="secret"' in links[1]
        async with server.http.patch(server.url + "/whip/x", data=b"") as response:
            assert response.status == 404
        async with server.http.options(server.url + "/whip/x") as response:
            assert response.status == 200 and "PATCH" in response.headers["Allow"]
            assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
        info = await server.json("/api/info")
        assert info["ice_servers"] == [
            {"urls": ["stun:127.0.0.1:9"]},
            {"urls": ["turn:127.0.0.1:9"], "username": "me", "credential": "secret"},
        ]


async def test_created_session_has_location_and_etag(server):
    client = Viewer(server.url, server.http)
    try:
        response = await client.post(await client.offer())
        assert (response.status, response.content_type) == (201, "application/sdp")
        client.location, etag = response.headers["Location"], response.headers["ETag"]
        assert client.location.startswith("/whip/") and len(client.location) > 20
        assert re.fullmatch(r'"[\w-]{8,}"', etag)
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag}
        async with server.http.patch(
            server.url + client.location, data=b"a=end-of-candidates\r\n", headers=headers
        ) as patched:
            assert patched.status == 204, "the tag is the connection's"
        assert await client.delete() == 200
    finally:
        await client.close()


async def test_a_model_that_does_not_load_refuses_viewers_with_the_reason(settings, engine):
    engine.load_error = ValueError("no such preset: x")
    async with running_server(settings, engine) as server:
        await until(lambda: "cannot load" in server.worker.readiness.reason, "failed")
        headers = {"Content-Type": "application/sdp"}
        async with server.http.post(server.url + "/whip", data=b"v=0", headers=headers) as response:
            assert response.status == 503 and "Retry-After" not in response.headers
            assert "cannot load the model" in (text := await response.text()) and "no such" not in text
        async with server.http.get(server.url + "/readyz") as response:
            assert response.status == 503
