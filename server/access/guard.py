"""Guard of every route: finds the token of a request and refuses what it does not allow."""

import asyncio
import hashlib
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.access.addresses import is_loopback
from server.access.roles import Need, is_met, may_use_relay, need_of
from server.access.tokens import Grant, TokenRefused, Tokens
from server.access.validity import ALWAYS, Validity
from server.answers import Answer, Operation, may_answer
from server.settings import Settings

logger = logging.getLogger(__name__)

COOKIE = "depthlive"
RELAYED = "access"  # query of an address that a gateway has led somebody to, with a relayed token
MAX_OWNERS = 10_000  # recordings outlive their sessions, so owners do, too; the least used one is forgotten


class Owners:
    """Which name published a session. What an owner leaves behind for a later process bears a mark, not a
    name."""

    def __init__(self, kept: Callable[[str], str | None] = lambda session: None) -> None:
        """`kept` gives the mark that a former process has left of a session's owner."""
        self._names: OrderedDict[str, str] = OrderedDict()
        self._kept = kept

    def add(self, session: str, name: str) -> None:
        """Whoever goes on with a session does not become its owner."""
        self._names.setdefault(session, name)
        while len(self._names) > MAX_OWNERS:
            self._names.popitem(last=False)

    def find(self, session: str | None) -> str | None:
        if session is None or (name := self._names.get(session)) is None:
            return None
        self._names.move_to_end(session)
        return name

    def mark(self, session: str) -> str | None:
        """Of its owner, for a later process; None where it has none."""
        name = self.find(session)
        return None if name is None else owner_mark(session, name)

    def owns(self, session: str | None, name: str) -> bool:
        if session is None:
            return False
        if (owner := self.find(session)) is not None:
            return owner == name
        kept = self._kept(session)
        return kept is not None and hmac.compare_digest(kept, owner_mark(session, name))


def owner_mark(session: str, name: str) -> str:
    """Stands for the name of a session's publisher, for other processes."""
    return hashlib.sha256(f"{session}\n{name}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Access:
    """Of one request that was let through. `grant`: None where none was needed."""

    grant: Grant | None
    may_use_relay: bool
    validity: Validity  # of the connection that comes of it
    _owners: Owners

    def own(self, session: str) -> None:
        """Whoever asks is the publisher of this session."""
        if self.grant is not None:
            self._owners.add(session, self.grant.name)


ACCESS_KEY = web.RequestKey("access", Access)


def access_of(request: web.Request) -> Access:
    """What the guard has found. Raises KeyError in an application without one."""
    return request[ACCESS_KEY]


def _needs_token(operation: Operation) -> bool:
    return need_of(operation.method, operation.path) is not Need.NOTHING


def _needs_role(operation: Operation) -> bool:
    return need_of(operation.method, operation.path) not in (Need.NOTHING, Need.TOKEN)


class Guard:
    """The middleware. Without tokens everything is allowed, but for ADMIN where other machines may ask."""

    def __init__(self, settings: Settings, tokens: Tokens | None, owners: Owners | None = None) -> None:
        self._tokens = tokens
        self._is_private = is_loopback(settings.host)
        self._prefix = settings.public_prefix
        self._owners = owners or Owners()

    @web.middleware
    @may_answer(
        Answer(401, "A token is needed, and this is none of this server's, or has expired.", of=_needs_token),
        Answer(403, "The token does not allow it.", of=_needs_role),
    )
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        need, session = _need(request, self._prefix)
        grant = None
        if self._tokens is None:
            if need is Need.ADMIN and not self._is_private:
                raise web.HTTPForbidden(text="only for an admin, who needs a token; or see --metrics-port")
        else:
            grant = self._grant(request, self._tokens, need)
            if grant is not None:
                if need is Need.OWN and self._is_elsewhere(request):
                    need = Need.PUBLISH
                owner = grant.name if self._owners.owns(session, grant.name) else None
                if not is_met(need, grant, session, owner):
                    raise _forbidden(grant)
        may_relay = self._tokens is None or (grant is not None and may_use_relay(grant))
        now, validity = asyncio.get_running_loop().time(), ALWAYS
        if self._tokens is not None and grant is not None:
            validity = self._tokens.validity(grant, now)
        request[ACCESS_KEY] = Access(grant, may_relay, validity, self._owners)
        return await handler(request)

    def _is_elsewhere(self, request: web.Request) -> bool:
        """Whether a session that is to go on is none of this worker's: the one that had it may be lost.
        Whose it is its journal says."""
        former = request.query.get("session")
        is_worker = self._tokens is not None and self._tokens.takes_relayed
        return is_worker and former is not None and self._owners.mark(former) is None

    def _grant(self, request: web.Request, tokens: Tokens, need: Need) -> Grant | None:
        """Of the request's token, or its cookie. Raises 401 where one is needed."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        cookie = request.cookies.get(COOKIE)
        relayed = request.query.get(RELAYED) if tokens.takes_relayed else None
        try:
            if relayed is not None:
                return tokens.read_relayed(relayed)
            if scheme.lower() == "bearer":
                return tokens.read_bearer(token.strip())
            if cookie is not None:
                return tokens.read_cookie(cookie)
        except TokenRefused as error:
            if need is Need.NOTHING:
                return None
            raise unauthorized(str(error)) from error
        if need is Need.NOTHING:
            return None
        raise web.HTTPUnauthorized(
            text="expected a token, as Authorization: Bearer TOKEN",
            headers={hdrs.WWW_AUTHENTICATE: 'Bearer realm="depthlive"', hdrs.CACHE_CONTROL: "no-store"},
        )


def unauthorized(reason: str) -> web.HTTPUnauthorized:
    """401 for a token that is no good (RFC 6750, 3)."""
    challenge = 'Bearer realm="depthlive", error="invalid_token"'
    headers = {hdrs.WWW_AUTHENTICATE: challenge, hdrs.CACHE_CONTROL: "no-store"}
    return web.HTTPUnauthorized(text=reason, headers=headers)


def _need(request: web.Request, prefix: str) -> tuple[Need, str | None]:
    """What a request asks for, and the session that it names. Below the public prefix routes are the same."""
    route = request.match_info.route
    if route.resource is None or route.method == hdrs.METH_ANY:
        return Need.NOTHING, None  # it will be 404 or 405
    need = need_of(request.method, route.resource.canonical, prefix)
    session = request.match_info.get("id")
    if need is Need.PUBLISH and (former := request.query.get("session")) is not None:
        return Need.OWN, former
    return need, session


def _forbidden(grant: Grant) -> web.HTTPForbidden:
    of = f" for the session {grant.session[:8]}..." if grant.session else ""
    headers = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="depthlive", error="insufficient_scope"'}
    return web.HTTPForbidden(
        text=f"a token of the role {grant.role}{of} does not allow this here", headers=headers
    )
