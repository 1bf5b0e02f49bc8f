"""HTTP API of a session's set-up: all of it in one JSON, to be kept and to be opened again."""

import asyncio
import secrets
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import hdrs, web

from server.http.session_api import JSON, NO_SESSION, PRIVATE, RETRY_AFTER_S, read_body
from server.protocol.http_models import Replies, SessionView, SetupErrors
from server.protocol.replies import ErrorReply, ServerMessage
from server.protocol.requests import Command
from server.protocol.setup import MAX_SETUP_BYTES, SetupRefused, decode_setup, encode_setup, setup_of
from server.session.command_queue import RateLimit

SETUPS_PER_SECOND = 2.0


class AsksTogether(Protocol):
    """What carries commands out. CommandHandler is one."""

    def ask_together(self, commands: Sequence[Command]) -> Sequence[ServerMessage]:
        """Carry out new commands from one chunk on, or none of them; returns their immediate answers."""
        ...


class SetUpSession(Protocol):
    """What of a session has to do with its set-up. LiveSession is one."""

    @property
    def commands(self) -> AsksTogether: ...

    def view(self) -> SessionView:
        """How it stands."""
        ...


class SetupApi:
    """The routes. Refusals are plain text, or all that is wrong with a set-up as `error` messages."""

    def __init__(self, find: Callable[[str], SetUpSession | None]) -> None:
        self._find = find
        self._limits: weakref.WeakKeyDictionary[SetUpSession, RateLimit] = weakref.WeakKeyDictionary()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sessions/{id}/setup", self.saved, allow_head=False),
            web.put("/sessions/{id}/setup", self.load),
        ]

    async def saved(self, request: web.Request) -> web.Response:
        """All that is in effect: 200, 404."""
        return _json(encode_setup(setup_of(self._session(request).view().settings)))

    async def load(self, request: web.Request) -> web.Response:
        """Carry a set-up out: 200 with the answers; 400 with `errors`; 404; 413; 415; 429."""
        session = self._session(request)
        if request.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(
                text=f"expected Content-Type {JSON}, got {request.content_type}"
            )
        limit = self._limits.setdefault(session, RateLimit(SETUPS_PER_SECOND))
        if not limit.allows(asyncio.get_running_loop().time()):
            raise web.HTTPTooManyRequests(
                text=f"expected at most {SETUPS_PER_SECOND:g} a second",
                headers={hdrs.RETRY_AFTER: RETRY_AFTER_S},
            )
        try:
            setup = decode_setup(await read_body(request, MAX_SETUP_BYTES))
        except SetupRefused as refusal:
            return _refused(
                [
                    ErrorReply(
                        code="invalid",
                        field=error.field,
                        value=error.value,
                        expected=error.expected,
                        message=str(error),
                    )
                    for error in refusal.errors
                ]
            )
        replies = session.commands.ask_together(setup.commands(f"setup-{secrets.token_hex(8)}"))
        errors = [reply for reply in replies if isinstance(reply, ErrorReply)]
        return _refused(errors) if errors else _json(Replies(replies=tuple(replies)).model_dump_json())

    def _session(self, request: web.Request) -> SetUpSession:
        session = self._find(request.match_info["id"])
        if session is None:
            raise web.HTTPNotFound(text=NO_SESSION)
        return session


def _refused(errors: Sequence[ErrorReply]) -> web.Response:
    return _json(SetupErrors(errors=tuple(errors)).model_dump_json(), 400)


def _json(text: str, status: int = 200) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: PRIVATE}
    return web.Response(text=text, status=status, content_type=JSON, headers=headers)
