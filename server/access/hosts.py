"""Host names that this server answers to, and the origins that may ask it to change something.

A name that an attacker owns can be made to resolve to 127.0.0.1 (DNS rebinding): to the browser his page and
this server are then one origin. Only the name in the Host header gives him away.
"""

import ipaddress
import logging
import re
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.access.addresses import WILDCARDS, in_url, is_loopback
from server.access.errors import UnusableAccess
from server.access.proxies import forwarded_host
from server.answers import Answer, may_answer
from server.cors import Origins
from server.settings import Settings

logger = logging.getLogger(__name__)

AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{0,5}))?")
DEFAULT_PORTS = {"http": 80, "https": 443}
SAFE_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)
BAD_HOST = "Host: expected one header with a name or address and at most a port, as example.org:8080"


class Authority(NamedTuple):
    """Host and port of an address. The name is in lower case, IPv6 without brackets in its short form."""

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """`host` or `host:port` as in Host and Origin headers; None when it is neither."""
    if (found := AUTHORITY.fullmatch(text)) is None:
        return None
    host, port = found["name"], int(found["port"]) if found["port"] else None
    if host is None:
        try:
            host = str(ipaddress.IPv6Address(found["v6"]))
        except ValueError:
            return None
    return Authority(host.lower(), port) if port is None or port < 65536 else None


def is_same_origin(origin: str, host: Authority) -> bool:
    """Whether a page of this very server asks. Scheme aside: a proxy in front may have ended TLS.

    The default port of the origin's scheme counts as none, on both sides.
    """
    scheme, _, rest = origin.partition("://")
    default, other = DEFAULT_PORTS.get(scheme.lower()), parse_authority(rest)
    if default is None or other is None or other.host != host.host:
        return False
    return (other.port or default) == (host.port or default)


def check_bind(settings: Settings) -> None:
    """Raise UnusableAccess for an address that others reach, without tokens, unless `open` is set."""
    has_tokens = settings.auth_secret_file is not None or settings.auth_tokens_file is not None
    if has_tokens or is_loopback(settings.host):
        return
    if not settings.open:
        raise UnusableAccess(
            f"host: {settings.host or 'an empty one'} can be reached from other machines, and nobody would "
            "be asked for a token: expected --auth-secret-file or --auth-tokens-file; or --open, if anybody "
            "who reaches this address may use it"
        )
    logger.warning("Whoever reaches this address may use it: no token is asked for (open)")


class Hosts:
    """The checks of Host and Origin."""

    def __init__(self, settings: Settings, origins: Origins) -> None:
        self._origins = origins
        self._is_wildcard = settings.host in WILDCARDS
        self._known = {settings.host.lower(), *settings.allowed_hosts}
        self._endings = tuple(name[1:] for name in settings.allowed_hosts if name.startswith("*."))

    def knows(self, host: str, arrived_at: str | None) -> bool:
        """Whether this server answers to a name. `arrived_at`: the address that the connection was made to,
        which is the bind's own where it listens on all."""
        name = host.removesuffix(".")
        if is_loopback(name) or name in self._known or name.endswith(self._endings or ("\0",)):
            return True
        return self._is_wildcard and name == arrived_at

    @web.middleware
    @may_answer(
        Answer(400, "The Host header is missing or cannot be read."),
        Answer(403, "A page of a site that is not in allowed_origins asks."),
        Answer(421, "This server is not known by this host name."),
    )
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """400 for a bad Host header, 421 for an unknown name; 403 for a foreign site that would change
        something or open a WebSocket. What is no browser sends no Origin and may."""
        host = _host_of(request)
        if host is None:
            raise web.HTTPBadRequest(text=BAD_HOST)
        if not self.knows(host.host, _arrived_at(request)):
            name = in_url(host.host)[:100]
            raise web.HTTPMisdirectedRequest(
                text=f"Host: this server is not known as {name}; expected a name of --allowed-hosts"
            )
        may_change = request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers
        if may_change and not self._may_ask(request, host):
            raise web.HTTPForbidden(
                text="Origin: this site may not use this server; expected its own page, or a site of "
                "--allowed-origin (allowed_origins)"
            )
        return await handler(request)

    def _may_ask(self, request: web.Request, host: Authority) -> bool:
        origins = request.headers.getall(hdrs.ORIGIN, [])
        return all(self._origins.allows(origin) or is_same_origin(origin, host) for origin in origins)


def _host_of(request: web.Request) -> Authority | None:
    """Not `request.host`, which makes one up where there is none."""
    told = forwarded_host(request)
    values = [told] if told is not None else request.headers.getall(hdrs.HOST, [])
    return parse_authority(values[0]) if len(values) == 1 else None


def _arrived_at(request: web.Request) -> str | None:
    name = request.transport and request.transport.get_extra_info("sockname")
    if not isinstance(name, tuple):
        return None  # a Unix socket
    address = str(name[0]).partition("%")[0]  # pyright: ignore[reportUnknownArgumentType] -- of the system
    return address.removeprefix("::ffff:") if "." in address else address
