"""The whole application over loopback: real HTTP, real WebRTC, fake engine."""

import asyncio
import signal
import ssl
import sys
from urllib.parse import quote

import aiohttp
import numpy as np
import pytest
from yarl import URL

import server.app as server_app
from server.access.errors import UnusableAccess
from server.app import CannotListen, page_directory, serve
from server.engine.client import EngineClient
from server.protocol.limits import limits
from server.settings import load_settings
from tests.server.fakes import HEIGHT, WIDTH, Look
from tests.server.running import CAMERA_FPS, PATIENCE_S, Viewer, running_server, until
from tests.server.webrtc.watching import Watcher


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that chunks are short."""
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS})


async def test_camera_in_generated_pictures_out(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.frames.clear()
        await until(lambda: len(viewer.frames) > 40, "frames")
    assert {(f.width, f.height) for f in viewer.frames} == {(WIDTH, HEIGHT)}
    red = np.array([f.to_ndarray(format="rgb24")[..., 0].mean() for f in viewer.frames[10:40]])
    assert len(set(np.round(red))) > 10, "the pictures keep changing"


async def test_the_cameras_size_may_change_in_mid_stream(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.camera.size = (320, 180)
        viewer.send({"type": "guidance.set", "id": "1", "scale": 0.5})
        await viewer.message("applied", id="1")
        assert not viewer.received("error")


async def test_a_prompt_is_acked_and_applied_at_a_chunk_and_frame(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "id": "7", "text": "a statue of gold", "transition": "recache"})
        await viewer.message("ack", id="7")
        applied = await viewer.message("applied", id="7")
        assert applied["command"] == "prompt.set"
        assert applied["chunk"] >= 1 and applied["frame"] >= 9
        assert applied["latency_ms"] > 0


async def test_reset_goes_back_to_chunk_zero_and_frames_go_on(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "reset", "id": "1", "seed": 4})
        applied = await viewer.message("applied", id="1")
        assert applied["chunk"] == 0 and applied["frame"] >= 9


async def test_invalid_messages_are_answered_and_the_stream_goes_on(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "guidance.set", "id": "1", "scale": 9})
        error = await viewer.message("error", id="1")
        assert (error["code"], error["field"], error["value"]) == ("invalid", "scale", "9")
        assert error["expected"] == "a number from 0 to 2"
        viewer.send("not json")
        assert (await viewer.message("error", id=None))["field"] == "message"
        viewer.frames.clear()
        await until(lambda: len(viewer.frames) > 12, "frames go on")


async def test_figures_come_by_telemetry_and_on_request(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await until(lambda: any(t["fps"] > 0 for t in viewer.telemetry), "telemetry")
        viewer.send({"type": "stats", "id": "1"})
        stats = await viewer.message("stats", id="1")
        assert stats["shown_frames"] > 0 and stats["camera_frames"] > 0
    async with server.http.get(server.url + "/metrics") as response:
        text = await response.text()
    assert response.status == 200
    assert "depthlive_shown_frames_total" in text and 'depthlive_latency_seconds_count{stage="total"}' in text


async def test_a_publisher_that_does_not_watch_is_generated_for_all_the_same(server):
    async with server.viewer(direction="sendonly") as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "id": "1", "text": "gold"})
        await viewer.message("applied", id="1")
        assert viewer.frames == []


async def test_the_page_is_served_while_the_model_loads_then_it_is_ready(settings, engine):
    engine.may_warm_up.clear()
    async with running_server(settings, engine) as server:
        async with server.http.get(server.url + "/healthz") as response:
            assert response.status == 200
        await until(lambda: server.worker.readiness.reason == "warming up the model", "warming")
        async with server.http.get(server.url + "/readyz") as response:
            assert response.status == 503
            assert await response.json() == {"ready": False, "reason": "warming up the model"}
        assert (await server.json("/api/info"))["model"] is None
        async with server.viewer() as viewer:
            await viewer.message("state", state="warming")
            await until(lambda: bool(viewer.frames), "the camera, passed through")
            engine.may_warm_up.set()
            await viewer.live()
        async with server.http.get(server.url + "/readyz") as response:
            assert response.status == 200
            ready = await response.json()
        assert ready["ready"] is True and ready["model"]["trained"] is False
        info = await server.json("/api/info")
        assert info["model"] == ready["model"]
        assert (info["default_prompt"], info["max_sessions"]) == ("clay", 2)


async def test_limits_and_defaults_are_told_and_a_new_session_begins_with_them(server):
    info = await server.json("/api/info")
    assert info["limits"] == limits().model_dump()
    told = info["defaults"]
    async with server.viewer() as viewer:
        await viewer.live()
        hello = await viewer.message("hello")
        assert hello["guidance_scale"] == told["guidance"]["scale"]
        assert hello["controls"] == told["controls"]
        viewer.send({"type": "prompt.set", "id": "1", "text": "gold"})
        await viewer.message("applied", id="1")
        settings = await viewer.message("settings")
    for name in ("guidance", "depth", "controls", "output"):
        assert settings[name] == told[name], name


async def test_the_controls_that_a_model_begins_with_are_told_once_it_is_loaded(settings, engine):
    engine.controls = (("depth", 0.5), ("gray", 1.5))
    engine.may_load.clear()
    async with running_server(settings, engine) as server:
        before = (await server.json("/api/info"))["defaults"]
        assert (before["guidance"]["scale"], before["controls"]) == (1.0, {"gray": 0.0, "lines": 0.0})
        engine.may_load.set()
        async with server.viewer() as viewer:
            await viewer.live()
        after = (await server.json("/api/info"))["defaults"]
    assert (after["guidance"]["scale"], after["controls"]) == (0.5, {"gray": 1.5, "lines": 0.0})


async def test_page_has_security_headers_and_nothing_outside_is_served(server):
    wanted = {
        "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Permissions-Policy": "camera=(self), microphone=(self)",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    for path in ("/healthz", "/", "/nothing.js"):
        async with server.http.get(server.url + path) as response:
            assert {name: response.headers[name] for name in wanted} == wanted
    for path in ("/../pyproject.toml", "/%2e%2e/pyproject.toml", "/nothing.js"):
        async with server.http.get(server.url + path) as response:
            assert response.status in (403, 404)


async def test_a_body_longer_than_an_offer_ever_is_is_refused(server):
    headers = {"Content-Type": "application/sdp"}
    for more, status in ((0, 400), (1, 413)):
        body = b"x" * (64 * 1024 + more)
        async with server.http.post(server.url + "/whip", data=body, headers=headers) as response:
            assert response.status == status


async def test_index_is_the_page(tmp_path, monkeypatch, settings, engine):
    (tmp_path / "index.html").write_text("<title>page</title>")
    (tmp_path / "main.js").write_text("export {}")
    monkeypatch.setattr(server_app, "page_directory", lambda: tmp_path)
    async with running_server(settings, engine) as server:
        async with server.http.get(server.url + "/") as response:
            assert "<title>page</title>" in await response.text()
        async with server.http.get(server.url + "/main.js") as response:
            assert response.content_type in ("text/javascript", "application/javascript")


async def test_a_model_that_can_do_no_more_is_told_to_all_and_lets_nobody_in(server, engine):
    """In our words, not in those of what broke."""
    async with server.viewer() as broken, server.viewer() as other:
        await broken.live()
        broken.send({"type": "prompt.set", "id": "1", "text": "exit"})
        words = "the model's thread has ended, start the server again"
        for viewer in (broken, other):
            assert (await viewer.message("state", state="failed"))["detail"] == words
            assert [each["message"] for each in viewer.received("error", code="internal")] == [words]
        async with server.http.get(server.url + "/readyz") as response:
            assert response.status == 503 and (await response.json())["reason"] == words
        late = Viewer(server.url, server.http)
        refused = await late.post(await late.offer())
        assert refused.status == 503 and words in await refused.text()
        await late.close()
        async with server.http.ws_connect(server.url + "/ws") as socket:
            assert words in ((await closing_word(socket))[1] or "")


def test_page_directory_is_the_packages():
    assert page_directory().name == "client_web" and page_directory().is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_serve_logs_its_address_and_ends_on_a_signal(engine, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(server_app, "EngineClient", lambda settings: _fake_worker(settings, engine))
    serving = asyncio.create_task(serve(load_settings({"port": 0})))
    await until(lambda: "Serving on" in caplog.text, "it serves")
    url = next(m.split()[-1] for m in caplog.messages if m.startswith("Serving on"))
    async with aiohttp.ClientSession() as http, http.get(url + "/healthz") as response:
        assert response.status == 200
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(serving, PATIENCE_S)
    assert "Shutting down" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_serve_by_tls_with_figures_on_a_port_of_their_own(engine, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO")
    monkeypatch.setattr(server_app, "EngineClient", lambda settings: _fake_worker(settings, engine))
    options = {"port": 0, "host": "0.0.0.0", "open": True, "tls": "self-signed", "metrics_port": 0}
    serving = asyncio.create_task(serve(load_settings(options | {"cache_dir": tmp_path})))
    await until(lambda: "From other machines" in caplog.text or serving.done(), "it serves")
    url, figures = (
        next(m.split()[-1] for m in caplog.messages if m.startswith(words))
        for words in ("Serving on https://127.0.0.1", "Figures on http://127.0.0.1")
    )
    trust = ssl.create_default_context(cafile=tmp_path / "tls" / "cert.pem")
    async with aiohttp.ClientSession() as http:
        for address, status in ((f"{url}/healthz", 200), (f"{url}/metrics", 404), (figures, 200)):
            async with http.get(address, ssl=trust) as response:
                assert response.status == status
    assert "Whoever reaches this address may use it" in caplog.text
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(serving, PATIENCE_S)


async def test_a_public_address_without_tokens_is_refused_before_the_model_is_asked_for(monkeypatch):
    monkeypatch.setattr(server_app, "EngineClient", lambda settings: pytest.fail("it was asked for"))
    with pytest.raises(UnusableAccess, match="--open"):
        await serve(load_settings({"port": 0, "host": "0.0.0.0"}))


async def closing_word(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str | None]:
    """How the server closes it."""
    while (message := await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        pass
    return socket.close_code, message.extra


async def test_shutdown_dismisses_peers_viewers_and_sockets(settings, engine, caplog):
    """Each is told, and none is there any more when the model stops."""
    caplog.set_level("INFO")
    words = "the server is shutting down"
    async with aiohttp.ClientSession() as http:
        async with running_server(settings, engine) as server:
            publisher, media = Viewer(server.url, http), await http.ws_connect(server.url + "/ws")
            await (await publisher.connect()).live()
            id = publisher.location.rpartition("/")[2]
            watching = await Watcher(server, id).connect()
            await until(lambda: len(watching.frames) > 0, "pictures")
            control = await http.ws_connect(f"{server.url}/sessions/{id}/ws")
            ends = [asyncio.create_task(closing_word(socket)) for socket in (media, control)]
            assert (await server.json("/api/info"))["sessions"] == 2
        assert await asyncio.gather(*ends) == [(1000, words), (1000, "the session has ended")]
        assert len(engine.streams) == 0
    for pc in (publisher.pc, watching.pc):
        await until(lambda pc=pc: pc.connectionState == "closed", "the server closes it")
    assert caplog.text.count(f"ends: {words}") == 3, "two peers and the viewer"
    await publisher.close()
    await watching.close()


def _fake_worker(settings, engine):
    return EngineClient(settings, import_engine=lambda: engine)


async def test_a_port_in_use_is_told_before_the_model_is_loaded(server, engine, monkeypatch):
    await server.worker.ready()
    monkeypatch.setattr(server_app, "EngineClient", lambda settings: _fake_worker(settings, engine))
    engine.loaded_with.clear()
    with pytest.raises(CannotListen):
        await serve(load_settings({"port": int(server.url.rsplit(":")[-1])}))
    assert not engine.loaded_with


async def test_looks_are_listed_and_their_pictures_served_from_the_models_own(tmp_path, settings, engine):
    picture, other = tmp_path / "gold leaf.webp", tmp_path / "secret.webp"
    picture.write_bytes(b"webp")
    other.write_bytes(b"secret")
    engine.looks = (Look("Molten gold", "a statue of molten gold", picture), Look("Clay", "grey clay", None))
    engine.may_load.clear()
    async with running_server(settings, engine) as server:
        assert (await server.json("/api/info"))["looks"] == []
        async with server.http.get(server.url + "/looks/gold%20leaf.webp") as response:
            assert response.status == 404
        engine.may_load.set()
        await server.worker.ready()
        looks = (await server.json("/api/info"))["looks"]
        assert [look["name"] for look in looks] == ["Molten gold", "Clay"]
        assert looks[0]["prompt"] == "a statue of molten gold" and looks[1]["thumbnail"] is None
        async with server.http.get(f"{server.url}/{looks[0]['thumbnail']}") as response:
            assert await response.read() == b"webp" and response.content_type == "image/webp"
            assert response.headers["Cache-Control"] == "public, max-age=3600"
            etag = response.headers["ETag"]
        async with server.http.get(
            f"{server.url}/{looks[0]['thumbnail']}", headers={"If-None-Match": etag}
        ) as response:
            assert response.status == 304
        # What lies beside the pictures is not the model's, however it is asked for.
        for name in ("secret.webp", "../secret.webp", "%2e%2e%2fsecret.webp", quote(str(other), safe="")):
            async with server.http.get(URL(f"{server.url}/looks/{name}", encoded=True)) as response:
                assert response.status == 404


async def test_a_model_without_looks_has_an_empty_list(server):
    await server.worker.ready()
    info = await server.json("/api/info")
    assert info["looks"] == [] and info["model"]["about"] == "a stand-in"


async def test_the_pages_sample_is_served_whole_in_part_and_not_again(server):
    url, size = server.url + "/sample.webm", (page_directory() / "sample.webm").stat().st_size
    async with server.http.get(url) as response:
        assert response.status == 200 and response.content_type == "video/webm"
        assert len(await response.read()) == size
        etag = response.headers["ETag"]
    async with server.http.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with server.http.get(url, headers={"Range": "bytes=100-199"}) as response:
        assert response.status == 206 and len(await response.read()) == 100
