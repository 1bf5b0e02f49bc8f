"""Route /login: a page trades a token for a cookie, since it can set no header on a WebSocket."""

from aiohttp import hdrs, web
from pydantic import ValidationError

from server.access.guard import COOKIE, unauthorized
from server.access.proxies import public_path
from server.access.tokens import TokenRefused, Tokens
from server.protocol.http_models import Login

JSON = "application/json"


class LoginApi:
    """Scripts of the page cannot read the cookie, and no other site can make a browser send it."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/login", self.login)]

    async def login(self, request: web.Request) -> web.Response:
        """204 with the cookie; 400, 401 or 415; 404 where nobody needs a token."""
        if request.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(text=f"expected Content-Type {JSON}")
        if self._tokens is None:
            raise web.HTTPNotFound(text="no token is needed here")
        try:
            asked = Login.model_validate_json(await request.read())
        except ValidationError as error:
            raise web.HTTPBadRequest(text='expected {"token": "..."}, at most 4096 characters') from error
        try:
            grant = self._tokens.read(asked.token.get_secret_value().strip())
        except TokenRefused as error:
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
