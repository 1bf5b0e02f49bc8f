"""HTTP API of a session: commands, state, pictures, snapshots, recordings. Its id is the key to it."""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from aiohttp import hdrs, web

from server.access.guard import access_of
from server.media.frames import Rgb
from server.media.images import IMAGE_TYPES, MAX_IMAGE_BYTES, ImageRejected, ImageStore, decode_image
from server.media.recording_store import RecordingStore
from server.media.snapshot import SnapshotParameters, encode_png
from server.protocol.codec import MAX_MESSAGE_BYTES
from server.protocol.http_models import Replies, SessionView, UploadedImage
from server.protocol.replies import ErrorReply, ServerMessage
from server.session.channel import TooManyClients
from server.session.command_queue import RateLimit
from server.session.message_limit import MessageLimit
from server.websocket.control import serve_control

UPLOADS_PER_SECOND = 2.0
SNAPSHOTS_PER_SECOND = 4.0
BODY_TIMEOUT_S = 30.0
RETRY_AFTER_S = "1"
PRIVATE = "private, no-store"
JSON = "application/json"
NO_SESSION = "no such session; it may have ended"


class ControlledSession(Protocol):
    """What of a session can be reached over HTTP. LiveSession is one."""

    @property
    def images(self) -> ImageStore: ...

    def view(self) -> SessionView:
        """How it stands."""
        ...

    def ask(self, raw: str | bytes) -> Sequence[ServerMessage]:
        """Handle one message; returns its immediate answers. Nothing that a client sends raises."""
        ...

    def join(self, send: Callable[[str], None]) -> Callable[[], None]:
        """Greet a further control client and tell it what happens; returns what ends that. TooManyClients."""
        ...

    def receive(
        self,
        raw: str | bytes,
        send: Callable[[str], None] | None = None,
        *,
        limit: MessageLimit | None = None,
    ) -> None:
        """Handle one message; its answers go to `send`. Nothing that a client sends raises."""
        ...

    def snapshot(self) -> tuple[Rgb, SnapshotParameters] | None:
        """The generated picture on show; None before the first."""
        ...


class _Limits:
    """What one session may ask for."""

    def __init__(self) -> None:
        self.uploads = RateLimit(UPLOADS_PER_SECOND)
        self.snapshots = RateLimit(SNAPSHOTS_PER_SECOND)


class SessionApi:
    """The routes under /sessions/{id}. Refusals are plain text, or the protocol's `error` for a command."""

    def __init__(self, find: Callable[[str], ControlledSession | None], recordings: RecordingStore) -> None:
        self._find = find
        self._recordings = recordings
        self._limits: weakref.WeakKeyDictionary[ControlledSession, _Limits] = weakref.WeakKeyDictionary()
        self._decoding = asyncio.Lock()  # one picture at a time: the largest takes 200 MB

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sessions/{id}", self.view, allow_head=False),
            web.post("/sessions/{id}/commands", self.command),
            web.get("/sessions/{id}/ws", self.socket, allow_head=False),
            web.post("/sessions/{id}/images", self.upload),
            web.get("/sessions/{id}/snapshot", self.snapshot, allow_head=False),
            web.get("/sessions/{id}/recordings/{name}", self.recording),
        ]

    async def view(self, request: web.Request) -> web.Response:
        """Everything about it: 200, 404."""
        return _json(self._session(request).view().model_dump_json())

    async def command(self, request: web.Request) -> web.Response:
        """One protocol message: 200 with the answers; 400 or 429 with an `error`; 404; 413; 415."""
        session = self._session(request)
        if request.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(
                text=f"expected Content-Type {JSON}, got {request.content_type}"
            )
        replies = session.ask(await read_body(request, MAX_MESSAGE_BYTES))
        error = next((reply for reply in replies if isinstance(reply, ErrorReply)), None)
        match error:
            case None:
                return _json(Replies(replies=tuple(replies)).model_dump_json())
            case ErrorReply(code="rate"):
                return _json(error.model_dump_json(), 429, {hdrs.RETRY_AFTER: RETRY_AFTER_S})
            case _:
                return _json(error.model_dump_json(), 400)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The control protocol on a WebSocket: 101; 404; 503 full."""
        session = self._session(request)
        id, validity = request.match_info["id"], access_of(request).validity
        try:
            return await serve_control(request, session, lambda: self._find(id) is session, validity)
        except TooManyClients as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error

    async def upload(self, request: web.Request) -> web.Response:
        """A picture for references or mask: 201 with its id; 400, 404, 413, 415, 429."""
        session = self._session(request)
        if request.content_type not in IMAGE_TYPES:
            expected = ", ".join(IMAGE_TYPES)
            raise web.HTTPUnsupportedMediaType(text=f"expected {expected}, got {request.content_type}")
        self._spend(self._limits_of(session).uploads, UPLOADS_PER_SECOND)
        data = await read_body(request, MAX_IMAGE_BYTES)
        try:
            async with self._decoding:
                rgb = await asyncio.to_thread(decode_image, data)
        except ImageRejected as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        height, width, _ = rgb.shape
        uploaded = UploadedImage(id=session.images.add(rgb), width=width, height=height)
        return _json(uploaded.model_dump_json(), 201)

    async def snapshot(self, request: web.Request) -> web.Response:
        """The picture on show as PNG: 200; 404; 409 before the first; 429."""
        session = self._session(request)
        self._spend(self._limits_of(session).snapshots, SNAPSHOTS_PER_SECOND)
        shown = session.snapshot()
        if shown is None:
            raise web.HTTPConflict(text="there is no generated picture yet")
        png = await asyncio.to_thread(encode_png, *shown)
        name = f"depthlive-{datetime.now():%Y%m%d-%H%M%S}-{shown[1].frame}.png"
        return web.Response(body=png, content_type="image/png", headers=_download(name))

    async def recording(self, request: web.Request) -> web.FileResponse:
        """A finished recording, in ranges if asked, also of a session that has ended: 200, 206, 404."""
        name = request.match_info["name"]
        path = await self._recordings.find(request.match_info["id"], name)
        if path is None:
            raise web.HTTPNotFound(text="no such recording; it may still run, or have given way")
        return web.FileResponse(path, headers=_download(name) | {hdrs.CONTENT_TYPE: "video/mp4"})

    def _session(self, request: web.Request) -> ControlledSession:
        session = self._find(request.match_info["id"])
        if session is None:
            raise web.HTTPNotFound(text=NO_SESSION)
        return session

    def _limits_of(self, session: ControlledSession) -> _Limits:
        return self._limits.setdefault(session, _Limits())

    def _spend(self, limit: RateLimit, rate: float) -> None:
        if not limit.allows(asyncio.get_running_loop().time()):
            raise web.HTTPTooManyRequests(
                text=f"expected at most {rate:g} a second", headers={hdrs.RETRY_AFTER: RETRY_AFTER_S}
            )


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body. Refuses with 413 what is too long, unread if its length is told; 408 if it is slow."""
    data = bytearray()
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_TIMEOUT_S):
            if (request.content_length or 0) <= limit:
                async for part in request.content.iter_any():
                    data += part
                    if len(data) > limit:
                        break
                else:
                    return bytes(data)
            raise web.HTTPRequestEntityTooLarge(
                max_size=limit, actual_size=len(data), text=f"expected at most {limit} bytes"
            )
    raise web.HTTPRequestTimeout(text=f"the body did not come within {BODY_TIMEOUT_S:g} s")


def _json(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: PRIVATE} | (headers or {})
    return web.Response(text=text, status=status, content_type=JSON, headers=headers)


def _download(name: str) -> dict[str, str]:
    """`name` is of our own making: letters, digits, dots and dashes."""
    return {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"', hdrs.CACHE_CONTROL: PRIVATE}
