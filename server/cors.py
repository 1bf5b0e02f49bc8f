"""Cross-origin rules: which other sites may embed the page and call the server, none by default."""

from collections.abc import Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.answers import Answer, may_answer

PREFLIGHT_CACHE_S = "600"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = "Content-Type, Authorization, If-Match"
EXPOSED_HEADERS = "Location, ETag, Link, Retry-After, Queue-Position, Content-Disposition"


class Origins:
    """CORS answers and the page's frame-ancestors. Other sites show tokens, no cookies: credentials are never
    allowed."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(map(_without_default_port, allowed))
        self.frame_ancestors = " ".join(("'self'", *allowed)) if allowed else "'none'"

    def allows(self, origin: str | None) -> bool:
        """Whether this is the Origin header of an allowed site."""
        return origin is not None and _without_default_port(origin) in self._allowed

    @web.middleware
    @may_answer(
        Answer(204, "A page of an allowed site may ask.", of=lambda operation: operation.method == "OPTIONS")
    )
    async def preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a browser that asks on behalf of an allowed site whether it may; let all else pass."""
        asks = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if asks and self.allows(request.headers.get(hdrs.ORIGIN)):
            return web.Response(
                status=204,
                headers={
                    hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
                    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
                    hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_CACHE_S,
                },
            )
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """On every answer, errors too: let an allowed site read it."""
        if not self._allowed:
            return
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and self.allows(origin):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


def _without_default_port(origin: str) -> str:
    """As browsers send it, whatever the settings say."""
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin
