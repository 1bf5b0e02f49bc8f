"""Reverse proxies: what they tell of a client and of the public address, taken from trusted ones alone."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy

from server.answers import Answer, may_answer
from server.settings import PREFIX, Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FOR, PROTO, HOST, PUBLIC_PREFIX = (f"X-Forwarded-{name}" for name in ("For", "Proto", "Host", "Prefix"))
# Some proxies name the scheme of a WebSocket's address.
SCHEMES: Mapping[str, str] = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
HOST_KEY = web.RequestKey("forwarded_host", str)
PREFIX_KEY = web.RequestKey("public_prefix", str)


class BadForwarding(Exception):
    """The text names the header and what is expected of it."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What trusted proxies tell; None: nothing."""

    client: str | None
    scheme: str | None = None
    host: str | None = None
    prefix: str | None = None


class Proxies:
    """Middleware: puts the client's address and scheme into the request, and what `public_path` needs."""

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_proxies
        self._prefix = settings.public_prefix

    @web.middleware
    @may_answer(Answer(400, "What a proxy tells of the client cannot be read."))
    async def resolve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            told = read_forwarded(request.remote, request.headers, self._networks)
        except BadForwarding as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if told is not None:
            request = request.clone(remote=told.client or "", scheme=told.scheme or request.scheme)
            if told.host is not None:
                request[HOST_KEY] = told.host
        request[PREFIX_KEY] = told.prefix if told is not None and told.prefix is not None else self._prefix
        return await handler(request)


def forwarded_host(request: web.Request) -> str | None:
    """The Host header that the client sent to a trusted proxy; None without one."""
    return request.get(HOST_KEY)


def public_path(request: web.Request, path: str) -> str:
    """A path of this server, as the client has to ask for it."""
    return request.get(PREFIX_KEY, "") + path


def under_prefix(prefix: str, routes: Sequence[web.AbstractRouteDef]) -> list[web.AbstractRouteDef]:
    """The same routes below a prefix, for proxies that do not take it away; none without one."""
    if not prefix:
        return []

    async def add_slash(request: web.Request) -> web.Response:
        raise web.HTTPPermanentRedirect(prefix + "/")  # the page's addresses are relative

    found: list[web.AbstractRouteDef] = [web.get(prefix, add_slash)]
    for route in routes:
        if isinstance(route, web.RouteDef):
            found.append(web.RouteDef(route.method, prefix + route.path, route.handler, route.kwargs))
        elif isinstance(route, web.StaticDef):
            found.append(web.StaticDef(prefix + route.prefix, route.path, route.kwargs))
    return found


def is_trusted_proxy(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether a socket from this address is one of theirs."""
    address = _address(peer)
    return address is not None and _is_trusted(address, trusted)


def read_forwarded(
    peer: str | None, headers: "CIMultiDictProxy[str]", trusted: Sequence[Network]
) -> Forwarded | None:
    """What the headers of a request from `peer` tell. None unless it is a trusted proxy.

    The client is the last address in X-Forwarded-For that is no trusted proxy: what stands before it the
    client may have written itself. Of the other headers, to which each proxy may append, the value counts
    that the outermost trusted proxy set. Raises BadForwarding.
    """
    address = _address(peer or "")
    if address is None or not _is_trusted(address, trusted):
        return None
    hops, client = 1, str(address)
    for entry in reversed(_values(headers, FOR)):
        address = _address(entry)
        if address is None:
            break  # "unknown", or nonsense: whoever is known last answers for it
        client = str(address)
        if not _is_trusted(address, trusted):
            break
        hops += 1
    scheme = _of_outermost(headers, PROTO, hops)
    if scheme is not None and (scheme := SCHEMES.get(scheme.lower())) is None:
        raise BadForwarding(f"{PROTO}: expected http or https")
    prefix = _of_outermost(headers, PUBLIC_PREFIX, hops)
    if prefix is not None and not re.fullmatch(PREFIX, prefix := prefix.rstrip("/")):
        raise BadForwarding(f"{PUBLIC_PREFIX}: expected a path, as /live")
    return Forwarded(client, scheme, _of_outermost(headers, HOST, hops), prefix)


def _values(headers: "CIMultiDictProxy[str]", name: str) -> list[str]:
    return [part.strip() for value in headers.getall(name, []) for part in value.split(",")]


def _of_outermost(headers: "CIMultiDictProxy[str]", name: str, hops: int) -> str | None:
    values = _values(headers, name)
    return values[-min(hops, len(values))] if values else None


def _address(text: str) -> Address | None:
    """Of `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]:5`. A mapped IPv4 address is that one."""
    if found := re.fullmatch(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+", text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
