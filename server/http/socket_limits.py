"""Runner of the HTTP server with a limit of open sockets, by address and in all, and of silence on each.

What comes on one and is no HTTP is answered in words, without a line in the log that others could fill.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import _ErrInfo  # pyright: ignore[reportPrivateUsage] -- what is no HTTP, as queued

from server.access.proxies import Network, is_trusted_proxy
from server.answers import Answer, Operation, may_answer
from server.http.request_limits import BROKEN_BODY
from server.settings import Settings
from server.transport.address_limits import Shares, TooMuch

logger = logging.getLogger(__name__)

# Without a whole request for so long a socket is closed: one that says nothing, one whose headers never end,
# and one that is kept for a next request.
SILENCE_S = 30.0
LINGER_S = 10.0  # for the rest of a body that was answered before its end: a reset could overtake the answer
REFUSAL = (
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: text/plain"
)


def _reads_body(operation: Operation) -> bool:
    return operation.reads_body


@may_answer(
    Answer(400, "This is no HTTP/1.1."),
    Answer(413, "The body is larger than 64 KiB, or than is said here.", of=_reads_body),
    Answer(417, "Expect is something else than 100-continue."),
    Answer(431, "A line or a field is too long."),
    Answer(503, "Too many sockets are open: with Retry-After."),
)
class LimitedRunner(web.AppRunner):
    """As aiohttp's, which sets no such limits."""

    def __init__(self, app: web.Application, settings: Settings, **options: Any) -> None:
        super().__init__(
            app, access_log=None, keepalive_timeout=SILENCE_S, lingering_time=LINGER_S, **options
        )
        self._limits = settings

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        sockets = Shares(
            "open sockets",
            by_address=self._limits.max_sockets_per_address,
            in_all=self._limits.max_sockets,
        )
        options = made._kwargs  # pyright: ignore[reportPrivateUsage] -- aiohttp lets nobody choose the class
        proxies = self._limits.trusted_proxies
        return _LimitedServer(
            sockets, proxies, made.request_handler, request_factory=made.request_factory, **options
        )


class _RequestHandler(web.RequestHandler):
    """As aiohttp's, which answers what it cannot parse with bytes as Python writes them, and logs it as an
    error with a traceback."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """End the body that is being read where it breaks: aiohttp keeps what is wrong for the next request,
        and whoever reads this one would wait for the rest."""
        super().data_received(data)
        request = self._current_request
        is_broken = bool(self._messages) and isinstance(self._messages[-1][0], _ErrInfo)
        if is_broken and request is not None and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError())

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != 400:
            return super().handle_error(request, status, exc, message)
        logger.debug("No request in HTTP: %r", exc)
        is_too_long = isinstance(exc, LineTooLong)
        response = web.Response(
            status=431 if is_too_long else 400,
            text="expected shorter lines and fields" if is_too_long else "expected a request in HTTP/1.1",
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Not what a body was ended with that did not come, or broke: aiohttp waits for it once more."""
        if not isinstance(kw.get("exc_info"), (web.HTTPException, *BROKEN_BODY)):
            super().log_exception(*args, **kw)


class _LimitedServer(web.Server):
    def __init__(self, sockets: Shares, proxies: Sequence[Network], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets
        self._proxies = proxies
        self._addresses: dict[web.RequestHandler, str] = {}

    def __call__(self) -> web.RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Refuse what is too much with a few words, unread. Here no header tells of a client: the address of
        the socket counts, unless it is a trusted proxy's, behind which everybody stands."""
        super().connection_made(handler, transport)
        peer: object = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] -- of any family
        if is_trusted_proxy(address, self._proxies):
            address = f"proxied {id(handler)}"  # a share of its own: only the limit in all can refuse it
        try:
            self._sockets.take(address)
        except TooMuch as error:
            # Once its task has begun: aiohttp's fails where the connection is gone by then.
            asyncio.get_running_loop().call_soon(_refuse, transport, str(error).encode())
        else:
            self._addresses[handler] = address

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        address = self._addresses.pop(handler, None)
        if address is not None:
            self._sockets.give_back(address)


def _refuse(transport: asyncio.Transport, words: bytes) -> None:
    transport.write(f"{REFUSAL}\r\nContent-Length: {len(words)}\r\n\r\n".encode() + words)
    transport.close()
