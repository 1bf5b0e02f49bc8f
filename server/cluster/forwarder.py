"""Forwarder of requests to workers: signaling, commands and pictures go through here; streams never do."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import hdrs, web

from server.access.proxies import FOR, public_path
from server.client_address import client_address

logger = logging.getLogger(__name__)

CONNECT_S = 2.0
ANSWER_S = 40.0  # a worker gives an upload 30
READ_S = 5.0  # for what many wait for
MAX_AT_ONCE = 256  # requests on their way to workers
PIECE_BYTES = 64 * 1024
# What a worker is told of a request, and a client of its answer: nothing else goes through.
ASKED = (
    *(hdrs.CONTENT_TYPE, hdrs.ACCEPT, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_RANGE, hdrs.RANGE),
    *(hdrs.IF_MODIFIED_SINCE, hdrs.USER_AGENT),
)
ANSWERED = (
    *(hdrs.CONTENT_TYPE, hdrs.CONTENT_DISPOSITION, hdrs.CONTENT_RANGE, hdrs.ACCEPT_RANGES, hdrs.ETAG),
    *(hdrs.LAST_MODIFIED, hdrs.CACHE_CONTROL, hdrs.RETRY_AFTER, hdrs.ALLOW, hdrs.WWW_AUTHENTICATE),
    *("Accept-Patch", "Accept-Post", "Queue-Position"),
)


BROKEN_OFF = (aiohttp.ClientPayloadError, TimeoutError)  # of an answer that has begun


class Unreachable(Exception):
    """The worker did not answer: it may have ended, and nobody knows yet."""


class Forwarder:
    """Hands requests on, from `open` to `close`, on a running loop."""

    _http: aiohttp.ClientSession

    def open(self) -> None:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._http.close()

    @asynccontextmanager
    async def asked(
        self,
        request: web.Request,
        url: str,
        path: str,
        *,
        query: Mapping[str, str],
        token: str | None = None,
        body: bytes = b"",
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The answer of the worker at `url` to the same request at `path`: see `hand_back`. `token` shows it
        who asks. Raises Unreachable."""
        headers: dict[str, str] = {name: request.headers[name] for name in ASKED if name in request.headers}
        headers[FOR] = client_address(request)
        if token is not None:
            headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
        try:
            answer = await self._http.request(
                request.method,
                url + path,
                params=query,
                data=body or None,
                headers=headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            logger.info("%s %s of %s: %r", request.method, path, url, error)
            raise Unreachable from error
        async with answer:
            yield answer

    async def read(self, url: str, *, token: str | None = None, most: int) -> bytes:
        """The body of a worker's 200 to GET, of at most so many bytes. Raises Unreachable."""
        headers = {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}
        try:
            limit = aiohttp.ClientTimeout(total=READ_S, sock_connect=CONNECT_S)
            async with self._http.get(url, headers=headers, allow_redirects=False, timeout=limit) as answer:
                if answer.status != 200:
                    raise Unreachable
                data = await answer.content.read(most + 1)
                while len(data) <= most and (more := await answer.content.read(most + 1 - len(data))):
                    data += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable from error
        if len(data) > most:
            raise Unreachable
        return data


async def hand_back(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """The worker's answer to the client, as it comes; what only the two of them concerns stays behind."""
    response = web.StreamResponse(status=answer.status)
    for name in ANSWERED:
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    for link in answer.headers.getall(hdrs.LINK, []):
        response.headers.add(hdrs.LINK, link)
    if (location := answer.headers.get(hdrs.LOCATION)) is not None:
        response.headers[hdrs.LOCATION] = public_path(request, location)
    response.content_length = answer.content_length
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            await response.write(piece)
    except BROKEN_OFF:  # in the middle: the client sees it by the end of its connection alone
        logger.info("The answer of %s broke off", answer.url.origin())
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
