"""Base of the WHIP and WHEP endpoints: refusals in plain text, ICE servers, PATCH, OPTIONS."""

import logging

from aiohttp import hdrs, web

from server.access.guard import access_of
from server.access.proxies import public_path
from server.metrics import Refusal
from server.services import Services
from server.webrtc.ice_servers import for_client
from server.webrtc.trickle_patch import ACCEPT_PATCH, FRAGMENT, FragmentRefused, Trickled, take_fragment

logger = logging.getLogger(__name__)

SDP = "application/sdp"
METHODS_OF_CONNECTION = "DELETE, PATCH, OPTIONS"


class SdpEndpoint:
    """Takes offers at one address and speaks of each connection at an address of its own."""

    def __init__(self, services: Services, name: str) -> None:
        """`name` is what the log calls the endpoint."""
        self._settings = services.settings
        self._metrics = services.metrics
        self._name = name

    def accepted(
        self, request: web.Request, answer: str, location: str, connection: Trickled | None
    ) -> web.Response:
        """201 with the answer to an offer and where its connection is to be spoken of."""
        response = web.Response(status=201, text=answer, content_type=SDP)
        response.headers[hdrs.LOCATION] = public_path(request, location)
        if connection is not None:
            response.headers[hdrs.ETAG] = connection.etag
        self._add_links(request, response)
        return response

    def refuse(
        self, status: int, why: Refusal, reason: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        """In the words of `reason`; `why` is for the figures."""
        logger.info("%s: refused with %d: %s", self._name, status, reason)
        self._metrics.refused(status, why)
        return web.Response(status=status, text=reason, headers=headers)

    async def patched(self, request: web.Request, connection: Trickled | None, missing: str) -> web.Response:
        """Trickled candidates: 204; an ICE restart: 200. Refused with 404 and the words `missing` where there
        is no connection, with 413, or as take_fragment does."""
        if connection is None:
            return self.refuse(404, "no_session", missing)
        try:
            return await take_fragment(request, connection)
        except FragmentRefused as refused:
            return self.refuse(refused.status, "candidates", str(refused), refused.headers)

    def options(self, request: web.Request, methods: str) -> web.Response:
        """What may be posted here, and the ICE servers to use (RFC 9725, 4.5)."""
        response = web.Response(headers={hdrs.ALLOW: methods, "Accept-Post": SDP})
        self._add_links(request, response)
        return response

    def options_of_connection(self) -> web.Response:
        return web.Response(headers={hdrs.ALLOW: METHODS_OF_CONNECTION, ACCEPT_PATCH: FRAGMENT})

    def _add_links(self, request: web.Request, response: web.Response) -> None:
        servers = for_client(self._settings, may_use_relay=access_of(request).may_use_relay)
        for link in (link for server in servers for link in server.links()):
            response.headers.add(hdrs.LINK, link)
