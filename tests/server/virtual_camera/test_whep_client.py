"""The WHEP client against the real server: pictures, its end, and what is said when there are none."""

from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from server.settings import load_settings
from server.virtual_camera import whep_client
from server.virtual_camera.whep_client import WatchLost, WatchRefused, ice_servers_of, watching
from tests.server.fakes import HEIGHT, WIDTH
from tests.server.running import CAMERA_FPS, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.watching import until_viewers, viewers


@pytest.fixture
def settings():
    return load_settings({"max_fps": CAMERA_FPS, "max_sessions": 1, "max_viewers": 1})


async def test_pictures_come_and_the_server_is_told_of_the_end(server):
    async with server.viewer() as publisher:
        await publisher.live()
        frames = []
        async with watching(server.http, whep(server, publisher), frames.append) as gone:
            await until(lambda: len(frames) > 20, "pictures")
            assert {(frame.width, frame.height) for frame in frames} == {(WIDTH, HEIGHT)}
            assert await viewers(server) == 1 and not gone.is_set()
        await until_viewers(server, 0)


async def test_the_end_of_the_session_is_the_end(server):
    async with server.viewer() as publisher:
        await publisher.live()
        async with watching(server.http, whep(server, publisher), lambda frame: None) as gone:
            await publisher.delete()
            await until(gone.is_set, "it is gone")


async def test_a_refusal_says_what_the_server_says(server):
    async with server.viewer() as publisher:
        address = whep(server, publisher)
        async with watching(server.http, address, lambda frame: None):
            with pytest.raises(WatchRefused) as refused:
                async with watching(server.http, address, lambda frame: None):
                    pass
    assert refused.value.status == 503 and refused.value.retry_after == 5 and "watch" in str(refused.value)
    with pytest.raises(WatchRefused, match="no such session") as unknown:
        async with watching(server.http, f"{server.url}/sessions/unknown/whep", lambda frame: None):
            pass
    assert unknown.value.status == 404


async def test_nobody_there_is_told_in_words():
    async with aiohttp.ClientSession() as http:
        with pytest.raises(WatchLost, match="cannot be reached"):
            async with watching(http, "http://127.0.0.1:9/sessions/x/whep", lambda frame: None):
                pass


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"text": "v=0", "headers": {"Location": "/here"}}, "no SDP"),
        ({"text": "v=0"}, "no Location"),
        ({"text": "v=0\r\n" * 100_000, "headers": {"Location": "/here"}}, "too long"),
    ],
)
async def test_an_answer_that_is_none_is_told_in_words(answer, told):
    async def answered(request: web.Request) -> web.Response:
        return web.Response(status=201, **answer)

    async with standing_in(answered) as (http, address):
        with pytest.raises(WatchLost, match=told):
            async with watching(http, address, lambda frame: None):
                pass


async def test_without_a_way_for_video_it_says_so(server, monkeypatch):
    monkeypatch.setattr(whep_client, "CONNECT_LIMIT_S", 0.0)
    async with server.viewer() as publisher:
        with pytest.raises(WatchLost, match="is UDP between it and this machine blocked"):
            async with watching(server.http, whep(server, publisher), lambda frame: None):
                pass


def test_ice_servers_are_those_that_links_name():
    links = [
        '<turn:t.example?transport=udp>; rel="ice-server"; username="u,1"; credential="c;=\\"; '
        'credential-type="password", <stun:s.example>; rel=ice-server',
        '</openapi.json>; rel="service-desc"',
        "garbage <",
    ]
    turn, stun = ice_servers_of(links)
    assert (turn.urls, turn.username, turn.credential) == (["turn:t.example?transport=udp"], "u,1", "c;=\\")
    assert (stun.urls, stun.username, stun.credential) == (["stun:s.example"], None, None)
    assert len(ice_servers_of(["<stun:s>; rel=ice-server"] * 100)) == whep_client.MOST_ICE_SERVERS


def whep(server, publisher) -> str:
    return f"{server.url}/sessions/{id_of(publisher)}/whep"


@asynccontextmanager
async def standing_in(answer):
    """A server with one WHEP endpoint that answers so."""
    app = web.Application()
    app.add_routes([web.post("/whep", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            yield http, f"http://127.0.0.1:{runner.addresses[0][1]}/whep"
    finally:
        await runner.cleanup()
