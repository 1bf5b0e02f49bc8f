"""The aiohttp application: its parts put together, the page, start-up and shutdown in order."""

import asyncio
import json
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from ssl import SSLContext
from urllib.parse import quote

from aiohttp import hdrs, web
from pydantic import BaseModel

from server.access.addresses import WILDCARDS, in_url, own_addresses
from server.access.guard import Guard, Owners, access_of
from server.access.hosts import Hosts, check_bind
from server.access.proxies import Proxies, under_prefix
from server.access.tls import tls_context
from server.access.tokens import Tokens
from server.cors import Origins
from server.engine.client import EngineClient, Phase, model_info
from server.engine.errors import EngineUnavailable
from server.http.login import LoginApi
from server.http.malformed import refuse_malformed
from server.http.openapi import document
from server.http.request_limits import RequestLimits
from server.http.session_api import SessionApi
from server.http.setup_api import SetupApi
from server.http.socket_limits import LimitedRunner
from server.journal.port import Journal
from server.media.recording_store import RecordingStore
from server.memory import give_back_memory
from server.metrics import Metrics
from server.placement.lease_tokens import LeaseGate
from server.preset_file import read_preset
from server.protocol.http_models import Defaults, IceServerInfo, LookInfo, NotReady, Ready, ServerInfo
from server.protocol.limits import defaults, limits
from server.protocol.replies import ModelInfo, OutputState
from server.restart import End, stopped_or_lost
from server.services import Services
from server.session.parameters import Parameters
from server.settings import Settings
from server.tracing import ChunkTracer
from server.transport.peer_registry import PeerRegistry
from server.webrtc.aiortc_patches.udp_ports import udp_ports_from
from server.webrtc.ice_servers import ResolvedIceServer, for_client
from server.webrtc.viewer_registry import ViewerRegistry
from server.webrtc.whep import Whep
from server.webrtc.whip import Whip
from server.websocket.endpoint import MediaSocket
from streaming.api import DEFAULT_LATENCY, Look

logger = logging.getLogger(__name__)

THUMBNAIL_CACHE = "public, max-age=3600"
MAX_BODY_BYTES = 64 * 1024  # an offer of a browser has about 8 KiB
# What stopping may take, with JOIN_TIMEOUT_S of recordings and engine: 8 s in all, where all of it hangs.
DISMISS_TIMEOUT_S = 3.0  # connections
SHUTDOWN_TIMEOUT_S = 1.0  # requests that are being answered
LOOPBACK = "127.0.0.1"
METRICS = web.AppKey("metrics", Metrics)
PEERS = web.AppKey("peers", PeerRegistry)
TOKENS = web.AppKey("tokens", Tokens)  # missing where nobody needs one
PICTURE_TYPES = {".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg"}
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {frame_ancestors}"
)
SECURITY_HEADERS = {
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # revalidated each time: the page must match the server that it came from
}


class Api:
    """What is not signaling: the page, the state of the server, its figures."""

    def __init__(self, services: Services, peers: PeerRegistry, before: Sequence[object]) -> None:
        """`before`: what answers before the endpoints do, decorated with `may_answer`."""
        settings = services.settings
        self._settings = settings
        self._engine = services.engine
        self._metrics, self._preset = services.metrics, services.preset
        self._peers = peers
        self._page = page_directory()
        self._before = before
        self._limits = limits()
        self._document = ""
        self._making_document = asyncio.Lock()

    def routes(self) -> list[web.AbstractRouteDef]:
        metrics = [web.get("/metrics", self.metrics)] if self._settings.metrics_port is None else []
        return [
            web.get("/", self.index),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            *metrics,
            web.get("/api/info", self.info),
            web.get("/looks/{name}", self.thumbnail),
            web.get("/openapi.json", self.openapi),
        ]

    def files(self) -> list[web.AbstractRouteDef]:
        """Of the page; last, since it takes whatever is left."""
        return [web.static("/", self._page)]

    async def index(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._page / "index.html")

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers: nothing more."""
        return web.Response(text="ok")

    async def readyz(self, request: web.Request) -> web.Response:
        """200 once the model is warm, else 503 with the reason."""
        if self._is_ready():
            return _json(Ready(model=self._model()))
        return _json(NotReady(reason=self._engine.readiness.reason), status=503)

    async def metrics(self, request: web.Request) -> web.Response:
        return _figures(self._metrics)

    async def info(self, request: web.Request) -> web.Response:
        """What the page needs before it connects."""
        servers = for_client(self._settings, may_use_relay=access_of(request).may_use_relay)
        return _json(
            ServerInfo(
                ready=self._is_ready(),
                reason=self._engine.readiness.reason,
                model=self._model(),
                looks=tuple(_look(look) for look in self._looks()),
                default_prompt=self._beginning().prompts[0].text,
                max_fps=self._settings.max_fps,
                max_sessions=self._peers.places,
                sessions=len(self._peers),
                ice_servers=tuple(map(_rtc_ice_server, servers)),
                limits=self._limits,
                defaults=self._defaults(),
            )
        )

    async def openapi(self, request: web.Request) -> web.Response:
        """This whole HTTP side, for programs that write programs."""
        async with self._making_document:
            if not self._document:  # a tenth of a second, in which streams would stand still
                self._document = await asyncio.to_thread(self._make_document)
        return web.Response(text=self._document, content_type="application/json")

    def _make_document(self) -> str:
        return json.dumps(document(self._before), ensure_ascii=False)

    async def thumbnail(self, request: web.Request) -> web.FileResponse:
        """The picture of a look, found among the model's own: what is asked for never becomes a path."""
        pictures = {look.thumbnail.name: look.thumbnail for look in self._looks() if look.thumbnail}
        if (picture := pictures.get(request.match_info["name"])) is None:
            raise web.HTTPNotFound(text="there is no such picture")
        # The type is named because Python does not know .webp before 3.13.
        headers = {"Cache-Control": THUMBNAIL_CACHE, "Content-Type": PICTURE_TYPES[picture.suffix]}
        return web.FileResponse(picture, headers=headers)

    def _is_ready(self) -> bool:
        return self._engine.readiness.phase is Phase.READY

    def _model(self) -> ModelInfo | None:
        return model_info(self._engine.info) if self._engine.info else None

    def _beginning(self) -> Parameters:
        """Of a new session; until the model has said which controls it begins with, those of the engine."""
        begins = Parameters.of(self._settings.prompt, self._settings.seed, self._settings.latency)
        info = self._engine.info
        return (begins if info is None else begins.beginning_with(info)).begun_with(self._preset)

    def _defaults(self) -> Defaults:
        begins = self._beginning()
        return defaults(
            begins.guidance_state(),
            begins.depth_state(),
            begins.controls,
            begins.camera_start_state(),
            begins.latency or DEFAULT_LATENCY,
            OutputState().changed_by(self._preset),
        )

    def _looks(self) -> tuple[Look, ...]:
        """Those of the model; none while it is loading."""
        return self._engine.info.looks if self._engine.info else ()


def create_app(
    settings: Settings,
    engine: EngineClient,
    gate: LeaseGate | None = None,
    *,
    journal: Journal | None = None,
    shared: bytes | None = None,
) -> web.Application:
    """The application. It starts `engine` with itself; viewers, peers, then recordings and `engine` stop.
    `gate`, `shared`: of a cluster's worker: who comes needs a lease that it takes; the cluster's secret.
    `journal`: where sessions leave what another process needs to go on with them.

    Raises UnusableAccess, TracingUnavailable or PresetUnusable.
    """
    tokens = Tokens.load(settings, shared)
    owners = Owners(lambda session: recordings.mark(session))
    recordings = RecordingStore(settings, owners.mark)
    tracer = ChunkTracer.of(settings)
    metrics = Metrics(gate and gate.worker)
    preset = read_preset(settings)
    services = Services(settings, engine, metrics, recordings, tracer, gate, journal, preset, owners.mark)
    peers = PeerRegistry(services)
    viewers = ViewerRegistry(services, peers.find)
    _follow(services, peers, recordings)
    origins = Origins(settings.allowed_origins)

    async def watch_once_ready() -> None:
        with suppress(EngineUnavailable):
            await engine.ready()  # until then imports and warming up hold the interpreter
        await services.metrics.watch_loop()

    async def run_beside(app: web.Application) -> AsyncIterator[None]:
        works = (watch_once_ready(), give_back_memory(lambda: peers.gone + viewers.gone))
        tasks = [asyncio.create_task(work) for work in works]
        with udp_ports_from(settings.udp_ports):
            yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def start(app: web.Application) -> None:
        await recordings.open()
        engine.start()

    async def end_peers(app: web.Application) -> None:
        try:
            async with asyncio.timeout(DISMISS_TIMEOUT_S):  # viewers are told first: not that a session ends
                await asyncio.gather(viewers.dismiss_all(), peers.dismiss_all())
        except TimeoutError:
            logger.warning("Not all connections ended within %g s; leaving them behind", DISMISS_TIMEOUT_S)

    async def stop(app: web.Application) -> None:
        ends = [recordings.close(), engine.stop(), *([tracer.close()] if tracer else [])]
        await asyncio.gather(*ends)

    async def count_response(request: web.Request, response: web.StreamResponse) -> None:
        services.metrics.responses.labels(str(response.status)).inc()

    # In this order: what no endpoint could read; the client's true address; names and sites; how much of it;
    # then who it is.
    hosts = Hosts(settings, origins)
    middlewares = [
        *(refuse_malformed, Proxies(settings).resolve, hosts.check, origins.preflight),
        *(RequestLimits(settings).middleware, Guard(settings, tokens, owners).check),
    ]
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    app[METRICS] = services.metrics
    app[PEERS] = peers
    if tokens is not None:
        app[TOKENS] = tokens
    app.cleanup_ctx.append(run_beside)
    app.on_startup.append(start)
    app.on_response_prepare.append(security_headers(origins))
    app.on_response_prepare.append(origins.add_headers)
    app.on_response_prepare.append(count_response)
    app.on_shutdown.append(end_peers)
    app.on_cleanup.append(stop)
    api = Api(services, peers, [LimitedRunner, *middlewares])
    endpoints: list[web.AbstractRouteDef] = [
        *Whip(services, peers).routes(),
        *MediaSocket(services, peers).routes(),
        *Whep(services, viewers).routes(),
        *SessionApi(peers.find, recordings).routes(),
        *SetupApi(peers.find).routes(),
        *LoginApi(tokens).routes(),
        *api.routes(),
    ]
    endpoints = [*with_slash(endpoints), *endpoints]
    routes = [*endpoints, *others_refused(endpoints), *api.files()]
    app.add_routes([*under_prefix(settings.public_prefix, routes), *routes])
    return app


def _follow(services: Services, peers: PeerRegistry, recordings: RecordingStore) -> None:
    """Figures that others hold, read when they are asked for."""
    engine, follow = services.engine, services.metrics.follow
    follow("ready", "Whether the model is warm", lambda: engine.readiness.phase is Phase.READY)
    follow(
        "engine_silent_seconds",
        "Since the model's thread, which owes an answer, has told anything",
        lambda: engine.silent_seconds,
    )
    follow("engine_age_seconds", "Since the model was ready; 0 before", lambda: engine.age_seconds)
    follow(
        "engine_frames_per_second", "The model's pace, of all streams together", lambda: engine.pace or 0.0
    )
    follow("gpu_memory_bytes", "Taken of the GPU by the model", lambda: engine.gpu_memory_bytes)
    follow("places", "Peers that may be here at once", lambda: peers.places)
    follow("waiting", "Who is in the admission queue", lambda: peers.num_waiting)
    follow("recordings_bytes", "Size of all finished recordings", lambda: recordings.num_bytes)


def security_headers(
    origins: Origins, more: str = ""
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What adds to an answer the headers that confine the page. `more`: of its policy."""
    policy = CONTENT_SECURITY_POLICY.format(frame_ancestors=origins.frame_ancestors) + more

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in {"Content-Security-Policy": policy, **SECURITY_HEADERS}.items():
            response.headers.setdefault(name, value)

    return add


def runner_of(app: web.Application, settings: Settings) -> web.AppRunner:
    """What runs the application, within the limits of sockets."""
    # Bodies that are compressed come as they are, and are refused.
    return LimitedRunner(app, settings, shutdown_timeout=SHUTDOWN_TIMEOUT_S, auto_decompress=False)


def metrics_app(settings: Settings, metrics: Metrics) -> web.Application:
    """/metrics alone, for a port of its own."""

    async def figures(request: web.Request) -> web.Response:
        return _figures(metrics)

    app = web.Application(middlewares=[Hosts(settings, Origins(())).check])
    app.add_routes([web.get("/metrics", figures)])
    return app


class CannotListen(Exception):
    """The text says where, and why."""


async def serve(settings: Settings) -> End:
    """Serve until SIGINT or SIGTERM, or until the model is lost and a restart is wanted and due; says which.

    Raises CannotListen, UnusableAccess, TracingUnavailable or PresetUnusable before anything has begun, and
    RecordingsUnusable.
    """
    check_bind(settings)
    context = tls_context(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    engine = EngineClient(settings)
    engine.restarts = settings.restart
    async with listening(settings, create_app(settings, engine), context):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        is_lost = await stopped_or_lost(stopped, engine, restarts=settings.restart)
        logger.info("Shutting down; interrupt again to stop at once")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return End.LOST if is_lost else End.THREAD_LEFT if engine.has_left_thread else End.STOPPED


@asynccontextmanager
async def listening(
    settings: Settings, app: web.Application, context: SSLContext | None = None
) -> AsyncGenerator[str]:
    """Run the application of `create_app` at its address, and its figures at theirs; yields the URL.

    Raises CannotListen before anything has begun, and RecordingsUnusable.
    """
    runner = runner_of(app, settings)
    metrics = metrics_app(settings, app[METRICS])
    figures = web.AppRunner(metrics, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    try:
        await _require_free(settings)
        if settings.metrics_port is not None:  # before the model, like the other port
            await figures.setup()
            with _listening(LOOPBACK, settings.metrics_port):
                await web.TCPSite(figures, LOOPBACK, settings.metrics_port).start()
            logger.info("Figures on %s/metrics", _url(LOOPBACK, figures, "http"))
        await runner.setup()
        with _listening(settings.host, settings.port):
            await web.TCPSite(runner, settings.host, settings.port, ssl_context=context).start()
        url = _url(settings.host, runner, scheme := "https" if context else "http")
        logger.info("Serving on %s", url)
        if settings.host in WILDCARDS:
            port = runner.addresses[0][1]
            urls = [f"{scheme}://{in_url(address)}:{port}" for address in own_addresses()]
            logger.info("From other machines: %s", ", ".join(urls) or "no address found")
        yield url
    finally:
        await figures.cleanup()
        await runner.cleanup()


async def _require_free(settings: Settings) -> None:
    """A port that is taken is told before the model is loaded. Raises CannotListen."""
    loop = asyncio.get_running_loop()
    with _listening(settings.host, settings.port):
        probe = await loop.create_server(asyncio.Protocol, settings.host, settings.port, start_serving=False)
    probe.close()


@contextmanager
def _listening(host: str, port: int) -> Generator[None]:
    """Raises CannotListen for what goes wrong meanwhile."""
    try:
        yield
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that a host could have
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise CannotListen(f"cannot listen on {host} port {port}: {reason}") from error


def page_directory() -> Path:
    """Where the page's files lie, in a checkout as in an installed package."""
    return Path(str(files("client_web").joinpath("index.html"))).parent


def with_slash(routes: Sequence[web.AbstractRouteDef]) -> list[web.AbstractRouteDef]:
    """The same endpoints at addresses that end with a slash, as some clients and proxies ask for them."""
    return [
        web.route(route.method, f"{route.path}/", route.handler, **route.kwargs)
        for route in routes
        if isinstance(route, web.RouteDef) and not route.path.endswith("/")
    ]


def others_refused(routes: Sequence[web.AbstractRouteDef]) -> list[web.AbstractRouteDef]:
    """Every other method at the same addresses: 405. GET would otherwise look among the page's files."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, web.RouteDef):
            methods.setdefault(route.path, set()).add(route.method)
            if route.method == hdrs.METH_GET and route.kwargs.get("allow_head", True):
                methods[route.path].add(hdrs.METH_HEAD)

    def refused(path: str, allowed: list[str]) -> web.RouteDef:
        async def refuse(request: web.Request) -> web.Response:
            words = f"expected {' or '.join(allowed)} at this address"
            raise web.HTTPMethodNotAllowed(request.method, allowed, text=words)

        return web.route(hdrs.METH_ANY, path, refuse)

    return [refused(path, sorted(allowed)) for path, allowed in methods.items()]


def _json(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")


def _rtc_ice_server(server: ResolvedIceServer) -> IceServerInfo:
    """As RTCPeerConnection takes it in the page; TURN credentials are meant for it."""
    return IceServerInfo(urls=server.urls, username=server.username, credential=server.credential)


def _look(look: Look) -> LookInfo:
    """As the page takes it. The address is relative, like all of the page's."""
    thumbnail = look.thumbnail and f"looks/{quote(look.thumbnail.name)}"
    return LookInfo(name=look.name, prompt=look.prompt, thumbnail=thumbnail)


def _figures(metrics: Metrics) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})


def _url(host: str, runner: web.AppRunner, scheme: str) -> str:
    """The address to open on this machine, with the port that was really taken."""
    port = runner.addresses[0][1]
    shown = LOOPBACK if host in ("0.0.0.0", "") else "::1" if host == "::" else host
    return f"{scheme}://{in_url(shown)}:{port}"
