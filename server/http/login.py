"""Routes /login and /logout: a page trades a token for a cookie: it can set no header on a WebSocket."""

from collections.abc import Awaitable, Callable
from time import monotonic

from aiohttp import hdrs, web
from pydantic import ValidationError

from server.access.guard import COOKIE, unauthorized
from server.access.proxies import public_path
from server.access.tokens import TokenRefused, Tokens
from server.client_address import client_address
from server.http.request_limits import REFUSED_TOKEN_S, REFUSED_TOKENS
from server.protocol.http_models import Login
from server.transport.address_limits import Rates, TooMuch

JSON = "application/json"
TELL_AGAIN_S = 2


class LoginApi:
    """Scripts of the page cannot read the cookie, and no other site can make a browser send it."""

    def __init__(self, tokens: Tokens | None, tell: Callable[[], Awaitable[None]] | None = None) -> None:
        """`tell`: has other processes of a cluster know who has logged out; raises ConnectionError."""
        self._tokens = tokens
        self._tell = tell
        self._refused = Rates("refused logins", 1 / REFUSED_TOKEN_S, REFUSED_TOKENS)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/login", self.login), web.post("/logout", self.logout)]

    async def login(self, request: web.Request) -> web.Response:
        """204 with the cookie; 400, 401, 415 or 429; 404 where nobody needs a token."""
        if request.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(text=f"expected Content-Type {JSON}")
        body = await request.read()
        if self._tokens is None:
            raise web.HTTPNotFound(text="no token is needed here")
        try:
            asked = Login.model_validate_json(body)
        except ValidationError as error:
            raise web.HTTPBadRequest(text='expected {"token": "..."}, at most 4096 characters') from error
        address = client_address(request)  # from here on nothing waits: nobody slips in between
        try:
            self._refused.check(address, monotonic())
        except TooMuch as error:
            raise web.HTTPTooManyRequests(
                text="too many logins were refused from this address: wait, then try again",
                headers={hdrs.RETRY_AFTER: str(error.retry_after_s)},
            ) from error
        try:
            grant = self._tokens.read(asked.token.get_secret_value().strip())
        except TokenRefused as error:
            self._refused.spend(address, monotonic())
            raise unauthorized(str(error)) from error
        value, seconds = self._tokens.cookie(grant)
        response = web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
        response.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=public_path(request, "/"),
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """204; the cookie is good no more, the browser forgets it, and what was let in by it ends. 503 where
        others of a cluster cannot be told."""
        if self._tokens is not None and (cookie := request.cookies.get(COOKIE)) is not None:
            self._tokens.end_login(cookie)
            try:
                await self._tell_others()
            except ConnectionError as error:
                raise web.HTTPServiceUnavailable(
                    text="not all servers could be told: log out again",
                    headers={hdrs.RETRY_AFTER: str(TELL_AGAIN_S)},
                ) from error
        response = web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
        response.del_cookie(COOKIE, path=public_path(request, "/"), httponly=True, samesite="Strict")
        return response

    async def _tell_others(self) -> None:
        if self._tell is not None:
            await self._tell()
