"""Gateway in front of all workers: leads whoever comes to a worker, and hands on what concerns a session.

It is the application of a server without a model: the same rules of hosts, origins, rates and tokens, the
same page. It keeps nothing that another gateway would miss, and no media passes through it.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from server.access.guard import RELAYED, Access, Guard, Owners, access_of
from server.access.hosts import Hosts
from server.access.proxies import Proxies, under_prefix
from server.access.tokens import Grant, Tokens
from server.app import (
    MAX_BODY_BYTES,
    others_refused,
    page_directory,
    security_headers,
    with_slash,
)
from server.client_address import client_address
from server.cluster.fleet import ClusterPlacement, Fleet
from server.cluster.forwarder import BROKEN_OFF, Forwarder, Unreachable, hand_back
from server.cluster.gateway_metrics import GatewayMetrics
from server.cluster.logouts import SharedLogouts
from server.cors import Origins
from server.http.login import LoginApi
from server.http.malformed import refuse_malformed
from server.http.request_limits import RequestLimits
from server.http.session_api import read_body
from server.media.images import MAX_IMAGE_BYTES
from server.placement.admission import is_ticket
from server.placement.lease_tokens import LeaseTokens
from server.placement.port import Lease, NoPlace, Spec, WorkerReport
from server.protocol.http_models import NotReady, Ready
from server.settings import Settings
from server.transport.address_limits import network_of
from server.webrtc.endpoint import SDP
from server.webrtc.whip import BAD_TICKET, QUEUE_POSITION, RETRY_AFTER_S

logger = logging.getLogger(__name__)

TO_WORKERS = "; connect-src 'self' ws: wss:"  # where the page takes pictures by WebSocket
MAX_INFO_BYTES = 256 * 1024  # of a worker's api/info
INFO_FRESH_S = 1.0
TRIES = 2  # of an offer that is handed on: a worker may have begun anew since it was chosen
VOID = b"lease:"  # so a worker's words begin where a lease is good no more
NO_WORKER = "no worker is ready; try again soon"
UNREACHABLE = "the worker does not answer; try again soon"
NO_SESSION = "no such session; it may have ended"


class _OwnersAtWorkers(Owners):
    """Which name published a session its worker knows, and looks; here whoever may publish passes."""

    def owns(self, session: str | None, name: str) -> bool:
        return session is not None


class Gateway:
    """The routes. Refusals are plain text that says what to do, as a server's."""

    def __init__(
        self,
        settings: Settings,
        placement: ClusterPlacement,
        forwarder: Forwarder,
        tokens: Tokens | None,
        leases: LeaseTokens,
    ) -> None:
        """`leases` makes the tokens that workers let somebody in by."""
        self.metrics = GatewayMetrics()
        self._settings = settings
        self._placement = placement
        self._forwarder = forwarder
        self._fleet = Fleet(placement)
        self._tokens = tokens
        self._leases = leases
        self._page = page_directory()
        # With the time, by whether credentials of relays are in it; words: why there is none.
        self._infos: dict[bool, tuple[float, dict[str, Any] | str]] = {}
        self._asking = asyncio.Lock()
        self._num_workers = 0
        self.metrics.follow("workers", "Ready, as last seen", lambda: self._num_workers)

    def routes(self) -> list[web.RouteDef]:
        handed_on = [
            (hdrs.METH_PATCH, "/whip/{id}"),
            (hdrs.METH_DELETE, "/whip/{id}"),
            (hdrs.METH_OPTIONS, "/whip/{id}"),
            (hdrs.METH_GET, "/sessions/{id}"),
            (hdrs.METH_GET, "/sessions/{id}/snapshot"),
            (hdrs.METH_POST, "/sessions/{id}/commands"),
            (hdrs.METH_GET, "/sessions/{id}/setup"),
            (hdrs.METH_PUT, "/sessions/{id}/setup"),
            (hdrs.METH_POST, "/sessions/{id}/images"),
            (hdrs.METH_POST, "/sessions/{id}/whep"),
            (hdrs.METH_OPTIONS, "/sessions/{id}/whep"),
            (hdrs.METH_DELETE, "/sessions/{id}/whep/{viewer}"),
            (hdrs.METH_PATCH, "/sessions/{id}/whep/{viewer}"),
            (hdrs.METH_OPTIONS, "/sessions/{id}/whep/{viewer}"),
        ]
        metrics = [web.get("/metrics", self.figures)] if self._settings.metrics_port is None else []
        return [
            web.post("/whip", self.offer),
            web.delete("/whip", self.leave_queue),
            web.options("/whip", self.of_any_worker),
            web.get("/ws", self.socket, allow_head=False),
            *(web.route(method, path, self.of_session) for method, path in handed_on),
            web.get("/sessions/{id}/ws", self.led, allow_head=False),
            web.get("/sessions/{id}/recordings/{name}", self.led),
            web.get("/", self.index),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            *metrics,
            web.get("/api/info", self.info),
            web.get("/looks/{name}", self.of_any_worker),
            web.get("/openapi.json", self.of_any_worker),
        ]

    async def offer(self, request: web.Request) -> web.StreamResponse:
        """307 to the worker that has a place, or its answer where a page asks, or `?proxy=1`; 202 with the
        position of who waits in line; 400, 415, 503."""
        if request.content_type != SDP:
            text = f"expected Content-Type {SDP}, got {request.content_type}"
            raise web.HTTPUnsupportedMediaType(text=text)
        if not _wants_proxy(request):
            lease = await self._place(request)
            self.metrics.offer("redirected")
            return _led_to(lease.url, "/whip", self._entry(request, lease))
        body = await read_body(request, MAX_BODY_BYTES)
        for _ in range(TRIES):
            lease = await self._place(request)
            if (answer := await self._answered(request, lease, body)) is not None:
                return answer
        self.metrics.offer("unreachable")
        raise _unavailable(UNREACHABLE)

    async def _answered(self, request: web.Request, lease: Lease, body: bytes) -> web.StreamResponse | None:
        """The worker's answer to an offer; None where it cannot be reached, or takes this lease no more."""
        query = self._entry(request, lease)
        try:
            async with self._forwarder.asked(request, lease.url, "/whip", query=query, body=body) as answer:
                if answer.status != 201:
                    await self._give_back(lease, request)
                if answer.status == 403 and (await answer.read()).startswith(VOID):
                    return None
                self.metrics.offer("proxied")
                return await hand_back(request, answer)
        except (Unreachable, *BROKEN_OFF):
            await self._give_back(lease, request)
            return None

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Leads to the worker's WebSocket: its pictures are media, and go there directly. 307, or its address
        in JSON for a page that asks by HTTP: its browser follows no redirect of a WebSocket."""
        lease = await self._place(request)
        self.metrics.offer("redirected")
        query = self._entry(request, lease)
        if hdrs.UPGRADE in request.headers:
            return _led_to(lease.url, "/ws", query)
        url = f"{lease.url.replace('http', 'ws', 1)}/ws?{urlencode(query)}"
        return web.json_response({"url": url}, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def leave_queue(self, request: web.Request) -> web.Response:
        """Give back the place in line of `?ticket=`: 200; 400 if it is no ticket, 404 if nobody has it."""
        ticket = request.query.get("ticket", "")
        if not is_ticket(ticket):
            raise web.HTTPBadRequest(text=BAD_TICKET)
        try:
            if not await self._placement.leave_queue(ticket):
                raise web.HTTPNotFound(text="nobody waits with this ticket; it may have come in")
        except ConnectionError as error:
            raise _unavailable(str(error)) from error
        return web.Response(text="left the line")

    async def of_session(self, request: web.Request) -> web.StreamResponse:
        """The answer of the worker that has the session; 404; 502 where it does not answer; 503."""
        worker = await self._worker_of(request)
        body = await read_body(request, MAX_IMAGE_BYTES) if request.body_exists else b""
        return await self._handed_on(request, worker, body)

    async def led(self, request: web.Request) -> web.StreamResponse:
        """307 to the worker that has the session, for what is too much, or too long, to go through here."""
        worker = await self._worker_of(request)
        grant = access_of(request).grant
        query = {name: value for name, value in request.query.items() if name != RELAYED}
        if (token := self._relayed(grant)) is not None:
            query[RELAYED] = token
        return _led_to(worker.url, self._path(request), query)

    async def of_any_worker(self, request: web.Request) -> web.StreamResponse:
        """What each of them would answer."""
        worker = await self._fleet.any_ready()
        if worker is None:
            raise _unavailable(NO_WORKER)
        return await self._handed_on(request, worker, b"")

    async def info(self, request: web.Request) -> web.StreamResponse:
        """As a worker tells it, with the places and sessions of all."""
        told = await self._info(access_of(request))
        ready = await self._fleet.ready()
        told = told | {
            "max_sessions": sum(worker.places for worker in ready),
            "sessions": sum(len(worker.sessions) for worker in ready),
            "leads_sockets": True,
        }
        return web.json_response(told)

    async def _info(self, access: Access) -> dict[str, Any]:
        """As a worker told it within INFO_FRESH_S: a crowd that comes at once waits for one answer, whether
        or not that comes."""
        now = asyncio.get_running_loop().time
        async with self._asking:
            kept = self._infos.get(access.may_use_relay)
            if kept is None or now() - kept[0] > INFO_FRESH_S:
                try:
                    told = await self._info_of_any_worker(access.grant)
                except web.HTTPServiceUnavailable as refusal:
                    told = refusal.text or ""
                self._infos[access.may_use_relay] = kept = now(), told
        if isinstance(kept[1], str):
            raise _unavailable(kept[1])
        return kept[1]

    async def _info_of_any_worker(self, grant: Grant | None) -> dict[str, Any]:
        """Of one that is ready, else of one that is not yet: it says why."""
        worker = await self._fleet.any_ready() or next(iter(await self._fleet.workers()), None)
        if worker is None:
            raise _unavailable(NO_WORKER)
        token = self._relayed(grant)
        try:
            raw = await self._forwarder.read(f"{worker.url}/api/info", token=token, most=MAX_INFO_BYTES)
        except Unreachable:
            raise _unavailable(UNREACHABLE) from None
        return json.loads(raw)

    async def index(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._page / "index.html")

    async def healthz(self, request: web.Request) -> web.Response:
        """The gateway answers: nothing more."""
        return web.Response(text="ok")

    async def readyz(self, request: web.Request) -> web.Response:
        """200 once a worker is ready, else 503."""
        if await self._fleet.ready():
            return web.Response(text=Ready(model=None).model_dump_json(), content_type="application/json")
        text = NotReady(reason=NO_WORKER).model_dump_json()
        return web.Response(status=503, text=text, content_type="application/json")

    async def figures(self, request: web.Request) -> web.Response:
        """The gateway's own; each worker tells its own at its address."""
        self._num_workers = len(await self._fleet.ready())
        return web.Response(body=self.metrics.render(), headers={"Content-Type": self.metrics.content_type})

    async def _place(self, request: web.Request) -> Lease:
        """A lease for whoever asks. Raises the answer of who gets none."""
        ticket = request.query.get("ticket")
        if ticket is not None and not is_ticket(ticket):
            raise web.HTTPBadRequest(text=BAD_TICKET)
        spec = Spec(
            network=network_of(client_address(request)),
            ticket=ticket,
            session=request.query.get("session"),
            model=request.query.get("model"),
        )
        with self.metrics.placing.time():
            try:
                return await self._placement.acquire(spec)
            except NoPlace as error:
                no_place = error
        if no_place.why == "malformed":
            raise web.HTTPBadRequest(text=str(no_place))
        headers: dict[str, str] = {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)}
        if no_place.position is None:
            self.metrics.offer("refused")
            raise web.HTTPServiceUnavailable(text=str(no_place), headers=headers)
        self.metrics.offer("waiting")
        headers[QUEUE_POSITION] = str(no_place.position)
        raise web.HTTPAccepted(text=str(no_place), headers=headers)

    def _entry(self, request: web.Request, lease: Lease) -> dict[str, str]:
        """Query that the worker lets somebody in by."""
        grant = access_of(request).grant
        network = network_of(client_address(request))
        former = request.query.get("session")
        token = self._leases.make(lease, network, grant, time.time(), goes_on=former is not None)
        query = {"lease": token}
        if (relayed := self._relayed(grant)) is not None:
            query[RELAYED] = relayed
        if former is not None:
            query["session"] = former
        return query

    async def _give_back(self, lease: Lease, request: web.Request) -> None:
        """A place that was not taken up. That of a session that goes on is its own."""
        if "session" in request.query:
            return
        try:
            await self._placement.release(lease.session)
        except ConnectionError:
            logger.info("A lease was not given back; it ends by itself")

    async def _worker_of(self, request: web.Request) -> WorkerReport:
        try:
            worker = await self._placement.worker_of(request.match_info["id"])
        except ConnectionError as error:
            raise _unavailable(str(error)) from error
        if worker is None:
            raise web.HTTPNotFound(text=NO_SESSION)
        return worker

    async def _handed_on(self, request: web.Request, worker: WorkerReport, body: bytes) -> web.StreamResponse:
        token = self._relayed(access_of(request).grant)
        path = self._path(request)
        try:
            async with self._forwarder.asked(
                request, worker.url, path, query=request.query, token=token, body=body
            ) as answer:
                return await hand_back(request, answer)
        except Unreachable:  # no 503: whoever hears nothing of a stream learns that its worker is gone
            raise web.HTTPBadGateway(text=UNREACHABLE) from None

    def _relayed(self, grant: Grant | None) -> str | None:
        """Shows a worker who asks; None where nobody needs a token."""
        return None if self._tokens is None or grant is None else self._tokens.relay(grant)

    def _path(self, request: web.Request) -> str:
        """As a worker knows it, which has no prefix."""
        return request.rel_url.raw_path.removeprefix(self._settings.public_prefix)


def _wants_proxy(request: web.Request) -> bool:
    """A page cannot be led away: its cookie would stay behind, and its policy names its own site alone."""
    return hdrs.ORIGIN in request.headers or "proxy" in request.query


def _led_to(url: str, path: str, query: Mapping[str, str]) -> web.Response:
    address = f"{url}{path}?{urlencode(query)}" if query else f"{url}{path}"
    return web.Response(status=307, headers={hdrs.LOCATION: address, hdrs.CACHE_CONTROL: "no-store"})


def _unavailable(words: str) -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(text=words, headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)})


def create_gateway(
    settings: Settings,
    placement: ClusterPlacement,
    leases: LeaseTokens,
    tokens: Tokens | None,
    *,
    before: tuple[Any, ...] = (),
) -> web.Application:
    """The application. `before`: middlewares that see a request first."""
    origins = Origins(settings.allowed_origins)
    middlewares = [
        *(*before, refuse_malformed, Proxies(settings).resolve, Hosts(settings, origins).check),
        *(origins.preflight, RequestLimits(settings).middleware),
        Guard(settings, tokens, _OwnersAtWorkers()).check,
    ]
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    forwarder = Forwarder()
    gateway = Gateway(settings, placement, forwarder, tokens, leases)

    logouts = None if tokens is None else SharedLogouts(placement, tokens.ended)

    async def connect(app: web.Application) -> AsyncIterator[None]:
        forwarder.open()
        async with nullcontext() if logouts is None else logouts.kept():
            yield
        await forwarder.close()

    async def count_response(request: web.Request, response: web.StreamResponse) -> None:
        gateway.metrics.responses.labels(str(response.status)).inc()

    app.cleanup_ctx.append(connect)
    app.on_response_prepare.append(security_headers(origins, TO_WORKERS))
    app.on_response_prepare.append(origins.add_headers)
    app.on_response_prepare.append(count_response)
    login = LoginApi(tokens, logouts and logouts.share)
    endpoints: list[web.AbstractRouteDef] = [*gateway.routes(), *login.routes()]
    endpoints = [*with_slash(endpoints), *endpoints]
    routes = [*endpoints, *others_refused(endpoints), web.static("/", page_directory())]
    app.add_routes([*under_prefix(settings.public_prefix, routes), *routes])
    return app
