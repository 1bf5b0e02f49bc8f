"""Gateway on Ray Serve: the application behind a Unix socket of its replica, to which requests are handed.

Serve speaks Starlette, the application aiohttp: so one set of rules of access is enough, at the price of one
more hop within a machine for signaling. No socket of a network leads around Serve.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from server.access.tokens import Tokens
from server.app import runner_of
from server.cluster.gateway import create_gateway
from server.cluster.placement_actor import PlacementMaker
from server.cluster.ray_runtime import ray_module
from server.logs import configure_logging
from server.placement.lease_tokens import LeaseTokens
from server.settings import Settings

logger = logging.getLogger(__name__)

APPLICATION = "depthlive"
MAX_AT_ONCE = 64  # requests that a replica has in hand
MAX_QUEUED = 128  # those that wait for one; Serve answers 503 to more
STOP_S = 2.0  # for what is being answered when a replica ends
PIECE_BYTES = 64 * 1024
PEER = (
    "X-Depthlive-Peer"  # address of the socket that a request came by; only Serve can reach the application
)
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", PEER.lower()})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """What a replica is made of."""

    settings: Settings
    secret: bytes = field(repr=False)  # of the cluster: who has it lets anybody in
    placement: PlacementMaker


@web.middleware
async def _from_serve(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request.clone(remote=request.headers.get(PEER, "")))


class GatewayReplica:
    """A deployment's replica. Any number of them; each is as good as another."""

    def __init__(self, plan: GatewayPlan) -> None:
        self._plan = plan
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of the socket
        self._starting = asyncio.Lock()

    async def _start(self) -> aiohttp.ClientSession:
        """On the loop that requests come on, when the first one comes."""
        settings, secret = self._plan.settings, self._plan.secret
        configure_logging(settings.log_level, settings.log_format)
        app = create_gateway(
            settings,
            self._plan.placement.client(),
            LeaseTokens(secret),
            Tokens.load(settings, secret, relays=True),
            before=(_from_serve,),
        )
        self._folder = tempfile.TemporaryDirectory(prefix="depthlive-gateway-")
        path = str(Path(self._folder.name) / "socket")
        self._runner = runner = runner_of(app, settings)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=MAX_AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def __del__(self) -> None:
        """Called by Serve before it ends the replica's process."""
        if self._folder is not None:
            self._folder.cleanup()

    async def __call__(self, request: Any) -> Any:
        """`request` and answer are Starlette's."""
        async with self._starting:  # a crowd may be the first to come
            if self._http is None:
                self._http = await self._start()
        scope = request.scope
        headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
        headers.append((PEER, request.client.host if request.client else ""))
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        address = URL(f"http://gateway{raw_path.decode('latin-1')}", encoded=True)
        if scope["query_string"]:
            address = address.with_query(scope["query_string"].decode("latin-1"))
        answer = await self._http.request(
            request.method,
            address,
            headers=headers,
            data=request.stream() if _has_body(request) else None,
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        return _starlette_answer(answer)


def _has_body(request: Any) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _starlette_answer(answer: aiohttp.ClientResponse) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        async with answer:
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                yield piece

    responses = ray_module("starlette.responses")
    response = responses.StreamingResponse(pieces(), status_code=answer.status)
    response.raw_headers = [
        (name.lower(), value) for name, value in answer.raw_headers if name.lower().decode() not in HOP_BY_HOP
    ]
    return response


def deploy(plan: GatewayPlan, *, replicas: int) -> None:
    """Begin so many gateways, or change their number; returns once they answer."""
    serve = ray_module("ray.serve")
    settings = plan.settings
    serve.start(http_options={"host": settings.host, "port": settings.port, "location": "HeadOnly"})
    deployment: Callable[..., Any] = serve.deployment(
        name="gateway",
        num_replicas=replicas,
        max_ongoing_requests=MAX_AT_ONCE,
        max_queued_requests=MAX_QUEUED,
        graceful_shutdown_timeout_s=STOP_S,
        ray_actor_options={"num_cpus": 0},
    )(GatewayReplica)
    bound: Any = deployment
    serve.run(
        bound.bind(plan), name=APPLICATION, route_prefix="/", logging_config={"enable_access_log": False}
    )


def undeploy() -> None:
    """End all gateways, and Serve with them."""
    ray_module("ray.serve").shutdown()
