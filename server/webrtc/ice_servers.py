"""STUN and TURN servers as a client and this server need them, TURN credentials made anew each time."""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from aiortc import RTCConfiguration, RTCIceServer

from server.settings import IceServer, Settings

TURN = ("turn:", "turns:")


@dataclass(frozen=True, slots=True)
class ResolvedIceServer:
    """One ICE server with the credentials that it is used with."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None

    def links(self) -> list[str]:
        """As Link headers, one an address (RFC 9725, 4.6)."""
        login = ""
        if self.username is not None and self.credential is not None:
            login = (
                f'; username="{self.username}"; credential="{self.credential}"; credential-type="password"'
            )
        return [f'<{url}>; rel="ice-server"{login}' for url in self.urls]


def with_turn_credentials(settings: Settings, now: float | None = None) -> tuple[ResolvedIceServer, ...]:
    """Every configured ICE server; with a secret, a TURN server without a user name gets one that expires.

    As coturn's `use-auth-secret` expects it: the name is `expiry:anything`, the credential its HMAC-SHA1 in
    base64. `anything` is random: names are sent in the clear, so a session's id must not be in them. Several
    sessions therefore never share credentials. `now` is Unix time.
    """
    return tuple(
        _resolved(server, settings, time.time() if now is None else now) for server in settings.ice_servers
    )


def for_client(settings: Settings, *, may_use_relay: bool) -> tuple[ResolvedIceServer, ...]:
    """Those to tell a client of: without `may_use_relay` none that comes with credentials."""
    servers = with_turn_credentials(settings)
    return tuple(server for server in servers if may_use_relay or server.credential is None)


def rtc_configuration(settings: Settings) -> RTCConfiguration:
    """For one connection of this server. Without an explicit list aiortc asks a public STUN server."""
    return RTCConfiguration(
        iceServers=[
            RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
            for server in with_turn_credentials(settings)
        ]
    )


def _resolved(server: IceServer, settings: Settings, now: float) -> ResolvedIceServer:
    if server.username is None and settings.turn_secret is not None and server.urls[0].startswith(TURN):
        username = f"{int(now + settings.turn_seconds)}:{secrets.token_hex(8)}"
        secret = settings.turn_secret.get_secret_value().encode()
        digest = hmac.new(secret, username.encode(), hashlib.sha1).digest()
        return ResolvedIceServer(server.urls, username, base64.b64encode(digest).decode())
    credential = server.credential.get_secret_value() if server.credential else None
    return ResolvedIceServer(server.urls, server.username, credential)
