"""The gateway before stand-ins of workers that note what they are asked."""

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from server.access.roles import ROUTES
from server.access.tokens import Grant, SignedTokens, Tokens
from server.cluster import forwarder
from server.cluster.fleet import FRESH_S
from server.cluster.gateway import create_gateway
from server.media.images import MAX_IMAGE_BYTES
from server.placement.lease_tokens import LeaseTokens
from server.placement.port import HeldSession, WorkerReport
from server.settings import load_settings
from tests.server.cluster.standing_in import SECRET, Actor, started_gateway

TICKET = "a-ticket-of-my-own"
OFFER = {"Content-Type": "application/sdp"}
PAGE = {"Origin": "http://127.0.0.1"}
INFO = {"ready": True, "max_sessions": 1, "sessions": 0, "default_prompt": "clay"}
SECRET_OF_USERS = "0123456789abcdef" * 4


class Worker:
    """Notes what it is asked, and answers as it is told."""

    def __init__(self, placement: Any, id: str) -> None:
        self.id, self._placement = id, placement
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.status, self.text, self.headers = 200, b"told", {}
        self.breaks_off = self.hangs = False  # in the middle of an answer
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""
        self.epoch = ""

    async def start(self, stack: AsyncExitStack) -> "Worker":
        app = web.Application(client_max_size=MAX_IMAGE_BYTES)
        app.add_routes([web.get("/api/info", self.info), web.route("*", "/{tail:.*}", self.answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._runner = runner
        return self

    async def report(self, *sessions: str, places: int = 1) -> None:
        """Twice, as a new one does."""
        held = tuple(HeldSession(id=id, network="n") for id in sessions)
        for _ in range(2):
            said = WorkerReport(
                worker=self.id,
                start="s",
                url=self.url,
                model="m",
                places=places,
                sessions=held,
                epoch=self.epoch,
            )
            self.epoch = (await self._placement.heartbeat(said)).epoch

    async def info(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        await self.may_answer.wait()
        return web.json_response(INFO)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        if self.breaks_off:
            response = web.StreamResponse(status=self.status)
            response.content_length = 100
            await response.prepare(request)
            await response.write(b"half")
            if self.hangs:
                self.may_answer.clear()
                await self.may_answer.wait()
            if request.transport is not None:
                request.transport.abort()
            return response
        return web.Response(status=self.status, body=self.text, headers=self.headers)

    async def end(self) -> None:
        await self._runner.cleanup()


class Cluster:
    def __init__(self, stack: AsyncExitStack, **settings: Any) -> None:
        self._stack, self.settings = stack, load_settings(settings)
        self.actor = Actor(asyncio.get_running_loop().time)
        self.placement = self.actor.client()
        self.url = ""

    async def start(self) -> "Cluster":
        port = await started_gateway(self._stack, self.settings, self.placement)
        self.url = f"http://127.0.0.1:{port}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession(self.url))
        return self

    async def worker(self, id: str = "w1") -> Worker:
        worker = await Worker(self.placement, id).start(self._stack)
        await worker.report()
        return worker

    async def ask(self, method: str, path: str, **more: Any) -> tuple[aiohttp.ClientResponse, str]:
        async with self.http.request(method, path, allow_redirects=False, **more) as response:
            return response, await response.text()


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def cluster(stack):
    return await Cluster(stack).start()


async def test_law_every_route_of_a_server_is_a_route_of_the_gateway():
    settings = load_settings({})
    placement = Actor(asyncio.get_running_loop().time).client()
    app = create_gateway(settings, placement, LeaseTokens(SECRET), None)
    found = {
        ("GET" if route.method == "HEAD" else route.method, route.resource.canonical.rstrip("/") or "/")
        for route in app.router.routes()
        if route.resource is not None and route.method != "*"
    }
    assert found == set(ROUTES)


async def test_law_an_offer_is_led_to_a_worker_with_a_lease(cluster):
    worker = await cluster.worker()
    response, _ = await cluster.ask("POST", "/whip", headers=OFFER, data="v=0")
    to = URL(response.headers["Location"])
    assert (response.status, str(to.origin()), to.path) == (307, worker.url, "/whip")
    place = LeaseTokens(SECRET).read(to.query["lease"])
    assert (place.worker, place.epoch, place.network, place.grant) == ("w1", worker.epoch, "127.0.0.1", None)
    assert response.headers["Cache-Control"] == "no-store"
    assert worker.asked == []  # whoever was led there asks itself


async def test_law_a_pages_offer_is_handed_on_and_answered_under_the_gateways_name(cluster):
    """Its cookie and its policy know this site alone."""
    worker = await cluster.worker()
    worker.status = 201
    worker.headers = {"Location": "/whip/one", "ETag": '"e"', "Set-Cookie": "a=b", "Link": "<stun:s>"}
    response, text = await cluster.ask(
        "POST", "/whip", headers=OFFER | PAGE | {"Origin": cluster.url, "Cookie": "c=d"}, data="v=0"
    )
    assert (response.status, text) == (201, "told")
    assert response.headers["Location"] == "/whip/one"
    assert response.headers["ETag"] == '"e"' and response.headers["Link"] == "<stun:s>"
    assert "Set-Cookie" not in response.headers
    (asked,) = worker.asked
    assert worker.bodies == [b"v=0"] and "lease" in asked.query
    assert "Origin" not in asked.headers and "Cookie" not in asked.headers
    assert asked.headers["X-Forwarded-For"] == "127.0.0.1"


async def test_a_client_that_follows_nothing_asks_for_a_proxy(cluster):
    worker = await cluster.worker()
    worker.status = 201
    response, _ = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data="v=0")
    assert response.status == 201 and len(worker.asked) == 1


async def test_law_who_waits_in_line_is_told_the_position_with_202(cluster):
    await cluster.worker()
    await cluster.ask("POST", "/whip", headers=OFFER)
    response, text = await cluster.ask("POST", f"/whip?ticket={TICKET}", headers=OFFER)
    assert (response.status, response.headers["Queue-Position"]) == (202, "1")
    assert int(response.headers["Retry-After"]) > 0 and "in line" in text
    response, _ = await cluster.ask("DELETE", f"/whip?ticket={TICKET}")
    assert response.status == 200
    response, _ = await cluster.ask("DELETE", f"/whip?ticket={TICKET}")
    assert response.status == 404


async def test_without_a_ticket_a_full_cluster_is_503(cluster):
    await cluster.worker()
    await cluster.ask("POST", "/whip", headers=OFFER)
    response, text = await cluster.ask("POST", "/whip", headers=OFFER)
    assert response.status == 503 and "Queue-Position" not in response.headers
    assert "all 1 places are taken" in text


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/whip", {"Content-Type": "text/plain"}, 415),
        ("/whip?ticket=short", OFFER, 400),
        ("/whip?session=../../etc", OFFER, 400),
        ("/whip", OFFER | {"Host": "evil.example"}, 421),
        ("/whip", OFFER | {"Origin": "https://evil.example"}, 403),
    ],
)
async def test_bad_offers_are_refused_as_by_a_server(cluster, path, headers, status):
    await cluster.worker()
    response, text = await cluster.ask("POST", path, headers=headers, data="v=0")
    assert response.status == status and "expected" in text


async def test_a_long_offer_is_refused_before_a_worker_sees_it(cluster):
    worker = await cluster.worker()
    response, _ = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data=b"v" * (64 * 1024 + 1))
    assert response.status == 413 and worker.asked == []


async def test_law_the_place_at_a_worker_that_does_not_answer_is_free_again(cluster):
    worker = await cluster.worker()
    await worker.end()
    for _ in range(2):  # the second one finds the place free
        response, text = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data="v=0")
        assert response.status == 503 and "does not answer" in text and "Retry-After" in response.headers


async def test_law_a_lease_that_has_become_void_is_had_anew(cluster):
    worker = await cluster.worker()
    worker.status, worker.text = 403, b"lease: it is void"
    response, _ = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data="v=0")
    assert response.status == 503 and "Retry-After" in response.headers  # 403 would be final
    first, second = (asked.query["lease"] for asked in worker.asked)
    assert first != second


async def test_the_place_of_a_refused_offer_is_free_again(cluster):
    worker = await cluster.worker()
    worker.status = 400
    for _ in range(2):
        response, text = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data="v=0")
        assert (response.status, text) == (400, "told")


async def test_law_a_session_that_goes_on_is_led_to_its_worker(cluster):
    first, second = await cluster.worker("w1"), await cluster.worker("w2")
    await second.report("one")
    response, _ = await cluster.ask("POST", "/whip?session=one", headers=OFFER)
    to = URL(response.headers["Location"])
    assert str(to.origin()) == second.url and to.query["session"] == "one"
    assert first.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/whip/one"),
        ("DELETE", "/whip/one"),
        ("GET", "/sessions/one"),
        ("GET", "/sessions/one/snapshot"),
        ("POST", "/sessions/one/commands"),
        ("POST", "/sessions/one/images"),
        ("POST", "/sessions/one/whep"),
        ("DELETE", "/sessions/one/whep/two"),
    ],
)
async def test_law_what_concerns_a_session_is_handed_to_its_worker(cluster, method, path):
    first, second = await cluster.worker("w1"), await cluster.worker("w2")
    await second.report("one")
    second.headers = {"Content-Disposition": "attachment"}
    body = b"x" * 100_000 if method == "POST" else None
    response, text = await cluster.ask(method, f"{path}?a=b", data=body, headers={"If-Match": '"e"'})
    assert (response.status, text, response.headers["Content-Disposition"]) == (200, "told", "attachment")
    (asked,) = second.asked
    assert (asked.method, asked.path, asked.query["a"]) == (method, path, "b")
    assert asked.headers["If-Match"] == '"e"' and second.bodies == [body or b""]
    assert first.asked == []


async def test_a_session_that_nobody_has_is_404_and_one_whose_worker_is_gone_502(cluster):
    worker = await cluster.worker()
    await worker.report("one")
    response, _ = await cluster.ask("GET", "/sessions/two")
    assert response.status == 404
    await worker.end()
    response, text = await cluster.ask("GET", "/sessions/one")
    assert response.status == 502 and "does not answer" in text


@pytest.mark.parametrize("path", ["/sessions/one/recordings/a.mp4", "/sessions/one/ws"])
async def test_law_what_is_large_or_long_goes_to_the_worker_itself(cluster, path):
    worker = await cluster.worker()
    await worker.report("one")
    response, _ = await cluster.ask("GET", path)
    assert (response.status, response.headers["Location"]) == (307, worker.url + path)


async def test_law_a_page_is_told_where_its_socket_for_pictures_goes(cluster):
    worker = await cluster.worker()
    response, text = await cluster.ask("GET", f"/ws?ticket={TICKET}")
    to = URL(json.loads(text)["url"])
    assert (response.status, to.scheme, to.authority) == (200, "ws", URL(worker.url).authority)
    assert to.path == "/ws" and "lease" in to.query
    response, _ = await cluster.ask("GET", f"/ws?ticket={TICKET}")
    assert (response.status, response.headers["Queue-Position"]) == (202, "1")


async def test_a_socket_for_pictures_is_led_to_a_worker_with_a_lease(cluster):
    worker = await cluster.worker()
    response, _ = await cluster.ask("GET", f"/ws?ticket={TICKET}", headers={"Upgrade": "websocket"})
    to = URL(response.headers["Location"])
    assert (response.status, str(to.origin()), to.path) == (307, worker.url, "/ws")
    assert "lease" in to.query and "ticket" not in to.query


async def test_info_counts_the_places_of_all(cluster):
    for id in ("w1", "w2"):
        await (await cluster.worker(id)).report("one" if id == "w1" else "two", places=3)
    _, text = await cluster.ask("GET", "/api/info")
    told = json.loads(text)
    assert (told["max_sessions"], told["sessions"], told["default_prompt"]) == (6, 2, "clay")


async def test_law_a_crowd_that_asks_for_info_costs_a_worker_one_request(cluster):
    worker = await cluster.worker()
    await asyncio.gather(*(cluster.ask("GET", "/api/info") for _ in range(20)))
    assert len(worker.asked) == 1


async def test_law_a_crowd_that_asks_for_info_waits_once_for_a_worker_that_says_nothing(cluster, monkeypatch):
    monkeypatch.setattr(forwarder, "READ_S", 0.05)
    worker = await cluster.worker()
    worker.may_answer.clear()
    answers = await asyncio.gather(*(cluster.ask("GET", "/api/info") for _ in range(20)))
    assert {response.status for response, _ in answers} == {503}
    assert len(worker.asked) == 1
    worker.may_answer.set()


@pytest.mark.parametrize("hangs", [False, True])
async def test_an_answer_that_breaks_off_ends_the_connection_and_fills_no_log(
    cluster, stack, monkeypatch, caplog, hangs
):
    monkeypatch.setattr(forwarder, "ANSWER_S", 0.5)
    cluster = await Cluster(stack).start()  # another gateway, with this patience
    worker = await cluster.worker()
    await worker.report("one")
    worker.breaks_off, worker.hangs = True, hangs
    with pytest.raises(aiohttp.ClientPayloadError):
        await cluster.ask("GET", "/sessions/one")
    worker.may_answer.set()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("hangs", [False, True])
async def test_law_the_place_at_a_worker_whose_refusal_breaks_off_is_free_again(stack, monkeypatch, hangs):
    monkeypatch.setattr(forwarder, "ANSWER_S", 0.5)
    cluster = await Cluster(stack).start()
    worker = await cluster.worker()
    worker.status, worker.breaks_off, worker.hangs = 403, True, hangs
    response, _ = await cluster.ask("POST", "/whip?proxy=1", headers=OFFER, data="v=0")
    assert response.status == 503
    worker.may_answer.set()
    response, _ = await cluster.ask("POST", "/whip", headers=OFFER, data="v=0")
    assert response.status == 307


async def test_readiness_is_that_some_worker_takes_sessions(cluster):
    response, text = await cluster.ask("GET", "/readyz")
    assert response.status == 503 and "no worker" in text
    response, _ = await cluster.ask("GET", "/healthz")
    assert response.status == 200
    await cluster.worker()
    await asyncio.sleep(1.1 * FRESH_S)
    response, _ = await cluster.ask("GET", "/readyz")
    assert response.status == 200


async def test_the_page_is_the_gateways_own(cluster):
    for path in ("/", "/main.js"):
        response, text = await cluster.ask("GET", path)
        assert response.status == 200 and text
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


async def test_figures_are_the_gateways_own(cluster):
    await cluster.worker()
    await cluster.ask("POST", "/whip", headers=OFFER)
    _, text = await cluster.ask("GET", "/metrics")
    assert 'depthlive_gateway_offers_total{outcome="redirected"} 1.0' in text
    assert "depthlive_gateway_workers 1.0" in text


class TestWithTokens:
    @pytest.fixture
    async def cluster(self, stack, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text(SECRET_OF_USERS)
        return await Cluster(stack, auth_secret_file=secret).start()

    def bearer(self, role: Any = "publish", name: str = "ann") -> dict[str, str]:
        return {"Authorization": "Bearer " + SignedTokens(SECRET_OF_USERS.encode()).make(Grant(name, role))}

    async def test_law_nobody_gets_a_place_without_a_token_that_may_publish(self, cluster):
        await cluster.worker()
        response, _ = await cluster.ask("POST", "/whip", headers=OFFER)
        assert response.status == 401
        response, _ = await cluster.ask("POST", "/whip", headers=OFFER | self.bearer("view"))
        assert response.status == 403
        response, _ = await cluster.ask("POST", "/whip", headers=OFFER | self.bearer())
        assert response.status == 307

    async def test_law_a_worker_learns_who_was_let_in_and_never_the_token(self, cluster):
        worker = await cluster.worker()
        await worker.report("one")
        await cluster.ask("GET", "/sessions/one", headers=self.bearer())
        shown = worker.asked[0].headers["Authorization"].removeprefix("Bearer ")
        assert shown not in self.bearer()["Authorization"]
        at_worker = Tokens(SECRET_OF_USERS.encode(), [], SECRET)
        assert at_worker.read_bearer(shown) == Grant("ann", "publish")
        with pytest.raises(Exception, match="not one of this server"):  # it is no token elsewhere
            Tokens(SECRET_OF_USERS.encode(), []).read_bearer(shown)

    async def test_a_page_that_has_logged_in_is_known_to_workers(self, cluster):
        worker = await cluster.worker()
        worker.status = 201
        token = self.bearer()["Authorization"].removeprefix("Bearer ")
        response, _ = await cluster.ask("POST", "/login", json={"token": token})
        assert response.status == 204
        cookie = f"depthlive={response.cookies['depthlive'].value}"
        page = OFFER | {"Origin": cluster.url, "Cookie": cookie}
        response, _ = await cluster.ask("POST", "/whip", headers=page, data="v=0")
        assert response.status == 201
        at_worker = Tokens(SECRET_OF_USERS.encode(), [], SECRET)
        assert at_worker.read_relayed(worker.asked[0].query["access"]).name == "ann"

    async def test_a_recordings_address_holds_a_token_of_a_minute(self, cluster):
        worker = await cluster.worker()
        await worker.report("one")
        response, _ = await cluster.ask("GET", "/sessions/one/recordings/a.mp4", headers=self.bearer())
        to = URL(response.headers["Location"])
        assert Tokens(SECRET_OF_USERS.encode(), [], SECRET).read_relayed(to.query["access"]).name == "ann"

    async def test_law_a_relayed_token_lets_nobody_in_at_a_gateway(self, cluster):
        """There it would be traded for the next one, for ever."""
        worker = await cluster.worker()
        await worker.report("one")
        led, _ = await cluster.ask("GET", "/sessions/one/recordings/a.mp4", headers=self.bearer())
        relayed = URL(led.headers["Location"]).query["access"]
        for more in (
            {"params": {"access": relayed}},
            {"headers": {"Authorization": f"Bearer {relayed}"}},
        ):
            response, _ = await cluster.ask("GET", "/sessions/one/recordings/a.mp4", **more)
            assert response.status == 401
