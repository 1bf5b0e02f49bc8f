"""Limits of requests by address: how many, how many that connect, how many bytes at once, and how slow."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from server.answers import Answer, may_answer
from server.client_address import client_address
from server.media.images import MAX_IMAGE_BYTES
from server.settings import Settings
from server.transport.address_limits import Rates, Shares, TooMuch

SMALL_BODY_BYTES = 64 * 1024  # an offer or a command; no more of them than sockets are on their way
SMALL_BODY_S = 10.0
LARGE_BODY_S = 30.0
BURST_S = 10.0  # seconds' worth of a rate that may come at once
# As of refused logins: of one network at once, and then one in so many seconds.
REFUSED_TOKENS, REFUSED_TOKEN_S = 10, 30.0
# Of a body whose chunks break; the latter where aiohttp parses in Python.
BROKEN_BODY = (web.RequestPayloadError, HttpProcessingError)
CONNECTS = {
    (hdrs.METH_POST, "/whip"),
    (hdrs.METH_POST, "/sessions/{id}/whep"),
    (hdrs.METH_GET, "/ws"),
    (hdrs.METH_GET, "/sessions/{id}/ws"),
}


class RequestLimits:
    """The middleware that keeps them. Refused is 429 for what is too often, 503 for what is too much at once,
    both with Retry-After, 408 for a body that does not come, and 400 for one that breaks."""

    def __init__(self, settings: Settings) -> None:
        rate, connects = settings.requests_per_second, settings.connects_per_second
        self._prefix = settings.public_prefix
        self._requests = Rates("requests", rate, BURST_S * rate)
        self._connects = Rates("connections", connects, BURST_S * connects)
        self._refused = Rates("refused tokens", 1 / REFUSED_TOKEN_S, REFUSED_TOKENS)
        self._bodies = Shares(
            "bytes of uploads on their way",
            by_address=settings.max_upload_mb_per_address << 20,
            in_all=settings.max_upload_mb << 20,
        )

    @web.middleware
    @may_answer(
        Answer(408, "The body did not come in time.", of=lambda operation: operation.reads_body),
        Answer(429, "This address asks too often: with Retry-After."),
        Answer(503, "Too many bytes are on their way: with Retry-After."),
    )
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what is too much before anything of it is read."""
        address, now = client_address(request), asyncio.get_running_loop().time()
        resource = request.match_info.route.resource
        has_token = hdrs.AUTHORIZATION in request.headers
        try:
            self._requests.spend(address, now)
            if has_token:
                self._refused.check(address, now)
            # Below the public prefix routes are the same.
            path = resource.canonical.removeprefix(self._prefix).rstrip("/") if resource is not None else ""
            if (request.method, path) in CONNECTS:
                self._connects.spend(address, now)
        except TooMuch as error:
            raise web.HTTPTooManyRequests(text=str(error), headers=_retry_after(error)) from error
        size = _body_bytes(request)
        try:
            self._bodies.take(address, size)
        except TooMuch as error:
            raise web.HTTPServiceUnavailable(text=str(error), headers=_retry_after(error)) from error
        try:
            with _deadline(request, LARGE_BODY_S if size else SMALL_BODY_S):
                return await handler(request)
        except web.HTTPUnauthorized:
            if has_token:
                with suppress(TooMuch):  # it has been looked at: this one is the last
                    self._refused.spend(address, now)
            raise
        except BROKEN_BODY as error:
            refusal = web.HTTPBadRequest(text="expected a body in chunks as HTTP/1.1 has them")
            refusal.force_close()
            raise refusal from error
        except ConnectionError as error:
            if request.transport is not None:
                raise
            # In the middle of its body: nobody is there to read this, and nothing is wrong here.
            raise web.HTTPBadRequest(text="the connection ended before the body") from error
        finally:
            self._bodies.give_back(address, size)


def _body_bytes(request: web.Request) -> int:
    """How many bytes a body may come to, as far as they count; no handler reads more of any."""
    if not request.body_exists:
        return 0
    length = request.content_length
    if length is not None and length <= SMALL_BODY_BYTES:
        return 0
    return MAX_IMAGE_BYTES if length is None else min(length, MAX_IMAGE_BYTES)


@contextmanager
def _deadline(request: web.Request, seconds: float) -> Generator[None]:
    """Whoever reads the body gets HTTPRequestTimeout if it has not come within this time."""
    if not request.body_exists:
        yield
        return

    def expire() -> None:
        if not request.content.is_eof():
            text = f"the body did not come within {seconds:g} s"
            request.content.set_exception(web.HTTPRequestTimeout(text=text))

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        yield
    finally:
        timer.cancel()


def _retry_after(error: TooMuch) -> dict[str, str]:
    return {hdrs.RETRY_AFTER: str(error.retry_after_s)}
