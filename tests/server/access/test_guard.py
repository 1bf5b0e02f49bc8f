"""Who may do what, over real HTTP: every route, every role, with tokens and without."""

import asyncio
import itertools
import json
import logging
import re
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiortc import RTCSessionDescription

from server.access.guard import MAX_OWNERS, Owners
from server.access.roles import ROUTES, Need, is_met, need_of
from server.access.tokens import COOKIE_SECONDS, Grant, SignedTokens, Tokens
from server.app import create_app, metrics_app
from server.engine.client import EngineClient
from server.http.request_limits import REFUSED_TOKEN_S, REFUSED_TOKENS
from server.metrics import Metrics
from server.settings import load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import PATIENCE_S, Viewer, running_server, until
from tests.server.webrtc.watching import Watcher
from tests.server.websocket.media_client import MediaClient

SECRET = "0123456789abcdef0123456789abcdef"
STATIC = "a-static-token-of-the-admin"
TURN = {"urls": ["turn:t.example"], "username": "u", "credential": "TOPSECRET"}
STUN = "stun:s.example"
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def settings(tmp_path):
    secret, listed = tmp_path / "secret", tmp_path / "tokens"
    secret.write_text(SECRET)
    listed.write_text(f"root admin {STATIC}\n")
    files = {"auth_secret_file": secret, "auth_tokens_file": listed}
    return load_settings(files | {"ice_servers": [STUN, TURN], "max_fps": 60})


def bearer(role: str, name: str = "ann", session: str | None = None) -> dict[str, str]:
    token = SignedTokens(SECRET.encode()).make(Grant(name, role, session))  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {token}"}


def routes_of(settings) -> set[tuple[str, str]]:
    routes = create_app(settings, EngineClient(settings)).router.routes()
    return {
        (route.method, route.resource.canonical)
        for route in routes
        if route.resource is not None and route.method != "*"
    }


async def test_law_every_route_is_in_the_table_and_no_other():
    found = {
        ("GET" if method == "HEAD" else method, path.rstrip("/") or "/")
        for method, path in routes_of(load_settings({}))
    }
    assert found == set(ROUTES)


async def test_law_without_a_token_only_what_is_harmless_is_answered(server):
    """A route that is added to the table as NOTHING has to be added here, too."""
    answered = set()
    for method, path in ROUTES:
        url = server.url + re.sub(r"{\w+}", "x", path)
        async with server.http.request(method, url) as response:
            if response.status != 401:
                answered.add((method, path))
            else:
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert "Authorization: Bearer" in await response.text()
    assert answered == {
        *(("GET", path) for path in ("/", "/healthz", "/readyz", "/openapi.json", "/looks/{name}")),
        ("POST", "/login"),
        ("POST", "/logout"),
        *(("OPTIONS", path) for _, path in ROUTES if ("OPTIONS", path) in ROUTES),
    }


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Bearer ",
        "bearer " + "x" * 4000,
        "Bearer " + SignedTokens(b"y" * 32).make(Grant("ann", "admin")),
        "Bearer " + SignedTokens(SECRET.encode()).make(Grant("ann", "admin", expires=1.0)),
        "Basic YTpi",
        "Token " + STATIC,
        STATIC,
    ],
)
async def test_a_token_that_is_none_is_401(server, header):
    async with server.http.get(server.url + "/api/info", headers={"Authorization": header}) as response:
        assert response.status == 401 and await response.text()


@pytest.mark.parametrize(
    ("need", "roles"),
    [
        (Need.NOTHING, {"publish", "control", "view", "admin", "own"}),
        (Need.TOKEN, {"publish", "control", "view", "admin", "own"}),
        (Need.PUBLISH, {"publish", "admin", "own"}),
        (Need.OWN, {"admin", "own"}),
        (Need.CONTROL, {"admin", "control", "own"}),
        (Need.VIEW, {"admin", "control", "view", "own"}),
        (Need.ADMIN, {"admin"}),
    ],
)
def test_law_roles_may_this_and_no_more(need, roles):
    for role in ("publish", "control", "view", "admin"):
        assert is_met(need, Grant("ann", role), "s", "bob") is (role in roles), role
    assert is_met(need, Grant("ann", "publish"), "s", "ann") is ("own" in roles)
    if need is not Need.PUBLISH:  # which names no session
        assert is_met(need, Grant("ann", "publish", "s"), "s", "bob") is ("own" in roles)


@pytest.mark.parametrize("role", ["publish", "control", "view", "admin"])
def test_law_a_token_for_one_session_does_nothing_to_others(role):
    grant = Grant("ann", role, "s")
    for need, session in itertools.product(Need, ("other", None)):
        expected = need in (Need.NOTHING, Need.TOKEN)
        assert is_met(need, grant, session, "ann") is expected, (need, session)


def test_a_route_that_nobody_has_thought_of_is_an_error():
    with pytest.raises(KeyError):
        need_of("POST", "/new")


@pytest.mark.parametrize("prefix", ["/ws", "/whip", "/sessions", "/metrics", "/live"])
def test_law_a_prefix_changes_no_need(prefix):
    for (method, path), need in ROUTES.items():
        assert need_of(method, path, prefix) is need
        if path != "/":
            assert need_of(method, prefix + path, prefix) is need


async def test_law_a_viewer_watches_and_neither_controls_nor_ends(server):
    async with published(server, bearer("publish")) as (viewer, id):
        session = f"{server.url}/sessions/{id}"
        watcher = Watcher(server, id)
        headers = bearer("view", "eve")
        try:
            offer = await watcher.offer()
            async with server.http.post(session + "/whep", data=offer, headers=SDP | headers) as response:
                assert response.status == 201
                assert "TOPSECRET" in " ".join(response.headers.getall("Link"))
            for method, url in [
                ("DELETE", f"{server.url}/whip/{id}"),
                ("PATCH", f"{server.url}/whip/{id}"),
                ("POST", session + "/commands"),
                ("POST", session + "/images"),
                ("GET", session + "/ws"),
                ("GET", session + "/recordings/x"),
                ("POST", server.url + "/whip"),
                ("POST", server.url + f"/whip?session={id}"),
                ("GET", server.url + "/ws"),
                ("GET", server.url + f"/ws?session={id}"),
                ("GET", server.url + "/metrics"),
            ]:
                async with server.http.request(method, url, headers=headers) as response:
                    assert response.status == 403, (method, url)
                    assert "insufficient_scope" in response.headers["WWW-Authenticate"]
            async with server.http.get(session, headers=headers) as response:
                assert response.status == 200, "the session goes on"
        finally:
            await watcher.close()


async def test_law_a_publisher_has_its_own_session_and_no_other(server):
    async with published(server, bearer("publish", "ann")) as (viewer, id):
        session = f"{server.url}/sessions/{id}"
        ping = {"type": "ping", "id": "1"}
        for name, status in (("bob", 403), ("ann", 200)):
            headers = bearer("publish", name)
            async with server.http.post(session + "/commands", json=ping, headers=headers) as response:
                assert response.status == status
            async with server.http.get(session, headers=headers) as response:
                assert response.status == status
        for path in (f"/whip?session={id}", f"/ws?session={id}"):
            method = "POST" if "whip" in path else "GET"
            async with server.http.request(
                method, server.url + path, headers=bearer("publish", "bob")
            ) as response:
                assert response.status == 403, "nobody takes it over"
        async with server.http.delete(
            server.url + viewer.location, headers=bearer("publish", "bob")
        ) as response:
            assert response.status == 403
        async with server.http.delete(server.url + viewer.location, headers=bearer("publish")) as response:
            assert response.status == 200


async def greeting(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The first message of a session; what comes before is for pictures."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT and (told := message.json())["type"] == "hello":
            return told


async def test_a_session_by_websocket_has_an_owner_too(server):
    async with server.http.ws_connect(server.url + "/ws", headers=bearer("publish")) as socket:
        hello = await greeting(socket)
        url = f"{server.url}/sessions/{hello['session']}"
        for name, status in (("bob", 403), ("ann", 200)):
            async with server.http.get(url, headers=bearer("publish", name)) as response:
                assert response.status == status


async def test_turn_credentials_are_for_who_sends_or_receives_media(server):
    for role in ("publish", "view", "control"):
        async with server.http.get(server.url + "/api/info", headers=bearer(role)) as response:
            text = await response.text()
        assert STUN in text and ("TOPSECRET" in text) is (role != "control")
    for headers, is_told in (({}, False), (bearer("control"), False), (bearer("publish"), True)):
        async with server.http.options(server.url + "/whip", headers=headers) as response:
            links = " ".join(response.headers.getall("Link"))
        assert response.status == 200 and STUN in links and ("TOPSECRET" in links) is is_told


async def test_a_page_trades_its_token_for_a_cookie(server):
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        token = bearer("publish")["Authorization"].partition(" ")[2]
        async with http.post(server.url + "/login", json={"token": f" {token}\n"}) as response:
            assert response.status == 204
            cookie = response.headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
        assert "Secure" not in cookie and token not in cookie
        async with http.get(server.url + "/api/info") as response:
            assert response.status == 200
        async with http.ws_connect(server.url + "/ws") as socket:
            assert (await socket.receive_json())["type"]
        async with http.get(server.url + "/metrics") as response:
            assert response.status == 403
        # A header goes before the cookie.
        async with http.get(
            server.url + "/metrics", headers={"Authorization": f"Bearer {STATIC}"}
        ) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "no-token-of-this-server"}, 401),
        ({"token": ""}, 400),
        ({"token": 5}, 400),
        ({"token": "x" * 5000}, 400),
        ({}, 400),
        ([], 400),
        ("{", 400),
    ],
)
async def test_a_login_that_is_none_is_told_and_sets_nothing(server, body, status):
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    async with server.http.post(server.url + "/login", data=data, headers=headers) as response:
        assert response.status == status and "Set-Cookie" not in response.headers
        assert "no-token-of-this-server" not in await response.text()


async def test_who_logs_out_has_no_cookie(server):
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await http.post(server.url + "/login", json={"token": STATIC})
        async with http.get(server.url + "/api/info") as response:
            assert response.status == 200
        async with http.post(server.url + "/logout") as response:
            assert response.status == 204
            assert {"Max-Age=0", "Path=/"} <= set(response.headers["Set-Cookie"].split("; "))
        async with http.get(server.url + "/api/info") as response:
            assert response.status == 401


async def closed_with(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str | None]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message = await socket.receive()
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                return socket.close_code, message.extra


async def logged_in(url: str, http: aiohttp.ClientSession) -> str:
    """The value of a new cookie."""
    async with http.post(url + "/login", json={"token": STATIC}) as response:
        assert response.status == 204
        return response.cookies["depthlive"].value


async def test_law_logging_out_ends_what_that_login_began_and_nothing_else(server):
    """Sessions, viewers and control sockets alike, though both logins are of one token."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        mine, others = [{"Cookie": f"depthlive={await logged_in(server.url, http)}"} for _ in range(2)]
        async with (
            http.ws_connect(server.url + "/ws", headers=mine) as ended,
            http.ws_connect(server.url + "/ws", headers=others) as left,
        ):
            await greeting(ended)
            id = (await greeting(left))["session"]
            control = f"{server.url}/sessions/{id}/ws"
            async with (
                http.ws_connect(control, headers=mine) as ended_too,
                http.ws_connect(control, headers=others) as left_too,
            ):
                watchers = [Watcher(server, id) for _ in range(2)]
                for watcher, headers in zip(watchers, (mine, others), strict=True):
                    await connect(watcher, http, headers)
                async with http.post(server.url + "/logout", headers=mine) as response:
                    assert response.status == 204
                assert await closed_with(ended) == await closed_with(ended_too) == (4401, "logged out")
                await until(lambda: watchers[0].pc.connectionState == "closed", "its viewer ends")
                async with http.get(server.url + "/api/info", headers=mine) as response:
                    assert response.status == 401 and "logged out" in await response.text()
                await left_too.send_json({"type": "ping", "id": "1"})
                while (await left_too.receive_json())["type"] != "pong":
                    pass
                assert watchers[1].pc.connectionState == "connected" and not left.closed
                for watcher in watchers:
                    await watcher.close()


async def connect(watcher: Watcher, http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with http.post(
        watcher.url, data=(await watcher.offer()).encode(), headers=headers | SDP
    ) as response:
        assert response.status == 201
        answer = RTCSessionDescription(sdp=await response.text(), type="answer")
    await watcher.pc.setRemoteDescription(answer)
    await until(lambda: watcher.pc.connectionState == "connected", "it watches")


async def test_law_an_expired_token_ends_its_control_socket_in_words(server):
    async with server.http.ws_connect(server.url + "/ws", headers=bearer("publish")) as publisher:
        id = (await greeting(publisher))["session"]
        soon = SignedTokens(SECRET.encode()).make(Grant("bob", "control", id, expires=time.time() + 1.0))
        headers = {"Authorization": f"Bearer {soon}"}
        async with server.http.ws_connect(f"{server.url}/sessions/{id}/ws", headers=headers) as socket:
            assert await closed_with(socket) == (4401, "the token has expired")
        assert not publisher.closed


async def test_law_an_expired_token_ends_its_publisher_in_words(server):
    soon = SignedTokens(SECRET.encode()).make(Grant("ann", "publish", expires=time.time() + 2.0))
    publisher = Viewer(server.url, server.http)
    headers = {"Authorization": f"Bearer {soon}"} | SDP
    offer = (await publisher.offer()).encode()
    async with server.http.post(server.url + "/whip", data=offer, headers=headers) as response:
        assert response.status == 201
        answer = RTCSessionDescription(sdp=await response.text(), type="answer")
    await publisher.pc.setRemoteDescription(answer)
    told = await publisher.message("error", code="rejected")
    assert told["message"] == "this connection ends: the token has expired"
    await until(lambda: publisher.pc.connectionState == "closed", "it is closed")
    await publisher.close()


async def test_law_refused_tokens_of_one_network_are_bounded(server):
    """While they are too many a right one is not looked at either: the answer would tell it from others."""
    statuses, waits = [], []
    for headers in [{"Authorization": "Bearer none"}] * (REFUSED_TOKENS + 1) + [bearer("admin"), {}]:
        async with server.http.get(server.url + "/api/info", headers=headers) as response:
            statuses.append(response.status)
            waits += response.headers.getall("Retry-After", [])
    assert statuses == [401] * REFUSED_TOKENS + [429, 429, 401]
    assert waits == [str(round(REFUSED_TOKEN_S))] * 2


async def test_law_a_recording_is_its_owners_after_a_restart_too(settings, engine, tmp_path):
    settings = settings.model_copy(update={"recordings_dir": tmp_path / "films"})
    async with (
        running_server(settings, engine) as server,
        server.http.ws_connect(server.url + "/ws", headers=bearer("publish")) as socket,
    ):
        client = await MediaClient(socket).live()
        await client.ask("record.start", "1")
        recording = await client.message("recording", state="recording")
        await until(lambda: len(client.pictures) > 20, "it records")
        await client.ask("record.stop", "2")
        await client.message("recording", state="stopped")
        hello = await client.message("hello")
        await client.end()
    path = f"/sessions/{hello['session']}/recordings/{recording['name']}"
    asks = [bearer("publish"), bearer("publish", "bob"), bearer("view", "bob"), bearer("admin", "root"), {}]
    async with running_server(settings, FakeEngineModule()) as server:
        statuses = []
        for headers in asks:
            async with server.http.get(server.url + path, headers=headers) as response:
                statuses.append(response.status)
    assert statuses == [200, 403, 403, 200, 401]
    kept = [
        file.read_bytes()
        for file in (tmp_path / "films").rglob("*")
        if file.suffix != ".mp4" and file.is_file()
    ]
    assert not any(b"ann" in text for text in kept)


async def test_a_cookies_own_end_is_not_the_end_of_its_tokens_stream(settings):
    """It is for some hours, and its token for ever: who has let in a stream for a night keeps it."""
    tokens = Tokens.load(settings)
    assert tokens is not None
    for expires in (None, time.time() + 1e6):
        value, seconds = tokens.cookie(Grant("ann", "publish", expires=expires))
        assert seconds == COOKIE_SECONDS
        found = tokens.validity(tokens.read_cookie(value), now=50.0)
        assert found.over(50.0 + 2 * COOKIE_SECONDS) is None
        assert (found.over(50.0 + 2e6) is None) is (expires is None)


async def test_law_refused_logins_of_one_network_are_bounded(settings, engine, monkeypatch):
    """While they are too many a right token is not looked at either: the answer would tell it from others."""
    now = 1000.0
    monkeypatch.setattr("server.http.login.monotonic", lambda: now)
    proxies = load_settings({"trusted_proxies": "127.0.0.1"}).trusted_proxies
    settings = settings.model_copy(update={"trusted_proxies": proxies})
    async with running_server(settings, engine) as server:

        async def login(address: str, token: str) -> tuple[int, str | None]:
            headers = {"X-Forwarded-For": address}
            url = server.url + "/login"
            async with server.http.post(url, json={"token": token}, headers=headers) as response:
                return response.status, response.headers.get("Retry-After")

        for number in range(REFUSED_TOKENS):
            assert await login(f"2001:db8::{number}", "no-token-of-this-server") == (401, None)
        wait = str(round(REFUSED_TOKEN_S))
        assert await login("2001:db8::ffff", "no-token-of-this-server") == (429, wait)
        assert await login("2001:db8::ffff", STATIC) == (429, wait)
        assert await login("2001:db8:1::1", STATIC) == (204, None)
        now += REFUSED_TOKEN_S
        assert await login("2001:db8::ffff", STATIC) == (204, None)
        assert await login("2001:db8::ffff", "no-token-of-this-server") == (401, None)
        assert await login("2001:db8::ffff", STATIC) == (429, wait)


async def test_behind_tls_and_a_prefix_the_cookie_is_bound_to_both(settings, engine):
    settings = settings.model_copy(
        update={
            "public_prefix": "/live",
            "trusted_proxies": load_settings({"trusted_proxies": "127.0.0.1"}).trusted_proxies,
        }
    )
    async with running_server(settings, engine) as server:
        headers = {"X-Forwarded-Proto": "https"}
        async with server.http.post(
            server.url + "/login", json={"token": STATIC}, headers=headers
        ) as response:
            assert {"Secure", "Path=/live/"} <= set(response.headers["Set-Cookie"].split("; "))


async def test_law_no_token_and_no_secret_is_logged(settings, engine, caplog):
    caplog.set_level(logging.DEBUG)
    token = bearer("publish")["Authorization"].partition(" ")[2]
    logging.getLogger().info("%s", settings.describe())
    async with running_server(settings, engine) as server:
        for headers in (bearer("publish"), {"Authorization": f"Bearer {STATIC}x"}, {"Authorization": STATIC}):
            async with server.http.get(server.url + "/metrics", headers=headers) as response:
                assert response.status in (401, 403)
        async with server.http.post(server.url + "/login", json={"token": token}) as response:
            cookie = response.cookies["depthlive"].value
    for secret in (token, STATIC, SECRET, cookie):
        assert secret not in caplog.text


async def test_without_tokens_loopback_sees_its_figures_and_nobody_logs_in(engine):
    async with running_server(load_settings({}), engine) as server:
        async with server.http.get(server.url + "/metrics") as response:
            assert response.status == 200
        async with server.http.post(server.url + "/login", json={"token": "x"}) as response:
            assert response.status == 404 and "Set-Cookie" not in response.headers


async def test_an_open_public_server_keeps_its_figures(engine):
    async with running_server(load_settings({"host": "0.0.0.0", "open": True}), engine) as server:
        async with server.http.get(server.url + "/metrics") as response:
            assert response.status == 403 and "--metrics-port" in await response.text()
        async with server.http.get(server.url + "/api/info") as response:
            assert response.status == 200


async def test_figures_on_a_port_of_their_own_are_nowhere_else():
    settings = load_settings({"metrics_port": 0})
    assert ("GET", "/metrics") not in routes_of(settings)
    runner = web.AppRunner(metrics_app(settings, Metrics()), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as response:
                assert "depthlive_sessions" in await response.text()
            async with http.get(url, headers={"Host": "evil.example"}) as response:
                assert response.status == 421
    finally:
        await runner.cleanup()


def test_owners_are_bounded_and_stay_the_first():
    owners = Owners()
    owners.add("s", "ann")
    owners.add("s", "bob")
    assert (owners.find("s"), owners.find("t"), owners.find(None)) == ("ann", None, None)
    for number in range(MAX_OWNERS - 1):
        owners.add(str(number), "x")
    assert owners.find("s") == "ann"
    owners.add("one more", "x")
    assert owners.find("s") == "ann", "who is asked for is not the least used"
    assert owners.find("0") is None


class published:
    """A session that is begun by WHIP with these headers; ends with the block."""

    def __init__(self, server, headers: dict[str, str]) -> None:
        self._server, self._headers = server, headers

    async def __aenter__(self) -> tuple[Viewer, str]:
        self._http = aiohttp.ClientSession(headers=self._headers)
        self._viewer = Viewer(self._server.url, self._http)
        await self._viewer.connect()
        return self._viewer, self._viewer.location.rpartition("/")[2]

    async def __aexit__(self, *error: object) -> None:
        await self._viewer.close()
        await self._http.close()
