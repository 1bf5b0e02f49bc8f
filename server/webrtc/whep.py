"""WHEP: anybody who knows a session's id may watch it; an SDP offer in, an answer out."""

import logging

from aiohttp import hdrs, web

from server.metrics import Metrics
from server.settings import Settings
from server.webrtc.ice_servers import minted
from server.webrtc.peer import InvalidOffer
from server.webrtc.trickle_patch import ACCEPT_PATCH, FRAGMENT, FragmentRefused, take_fragment
from server.webrtc.udp_ports import NoUdpPort
from server.webrtc.viewers import NothingToWatch, Viewers, ViewersFull

logger = logging.getLogger(__name__)

SDP = "application/sdp"
RETRY_AFTER_S = "5"
METHODS = "POST, OPTIONS"
VIEWER_METHODS = "DELETE, PATCH, OPTIONS"
NO_VIEWER = "no such viewer; it may have left, or its session ended"


class Whep:
    """The routes of the WHEP endpoint of each session. Refusals are plain text that says what to do."""

    def __init__(self, settings: Settings, metrics: Metrics, viewers: Viewers) -> None:
        self._settings = settings
        self._metrics = metrics
        self._viewers = viewers

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sessions/{id}/whep", self.post),
            web.options("/sessions/{id}/whep", self.options),
            web.delete("/sessions/{id}/whep/{viewer}", self.delete),
            web.patch("/sessions/{id}/whep/{viewer}", self.patch),
            web.options("/sessions/{id}/whep/{viewer}", self.options_of_viewer),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Let a viewer in: 201 with the answer; 400, 404, 413, 415 or 503 with a reason."""
        session_id = request.match_info["id"]
        if request.content_type != SDP:
            return self._refuse(415, f"expected Content-Type {SDP}, got {request.content_type}")
        try:
            viewer, answer = await self._viewers.admit(session_id, await request.text())
        except UnicodeDecodeError:
            return self._refuse(400, "the offer is not UTF-8 text")
        except InvalidOffer as error:
            return self._refuse(400, str(error))
        except NothingToWatch as error:
            return self._refuse(404, str(error))
        except (ViewersFull, NoUdpPort) as error:
            return self._refuse(503, str(error), {hdrs.RETRY_AFTER: RETRY_AFTER_S})
        response = web.Response(status=201, text=answer, content_type=SDP)
        response.headers[hdrs.LOCATION] = f"/sessions/{session_id}/whep/{viewer.id}"
        response.headers[hdrs.ETAG] = viewer.etag
        self._add_links(response)
        return response

    async def delete(self, request: web.Request) -> web.Response:
        """A viewer leaves: 200 once its connection is closed; 404."""
        id, viewer = request.match_info["id"], request.match_info["viewer"]
        if not await self._viewers.dismiss(id, viewer, "asked to"):
            return web.Response(status=404, text=NO_VIEWER)
        return web.Response(text="ended")

    async def patch(self, request: web.Request) -> web.Response:
        """Trickled candidates: 204; an ICE restart: 200. Refused with 404, 413 or as take_fragment does."""
        viewer = self._viewers.find(request.match_info["id"], request.match_info["viewer"])
        if viewer is None:
            return self._refuse(404, NO_VIEWER)
        try:
            return await take_fragment(request, viewer)
        except FragmentRefused as refused:
            return self._refuse(refused.status, str(refused), refused.headers)

    async def options(self, request: web.Request) -> web.Response:
        """What may be posted here, and the ICE servers to use."""
        response = web.Response(headers={hdrs.ALLOW: METHODS, "Accept-Post": SDP})
        self._add_links(response)
        return response

    async def options_of_viewer(self, request: web.Request) -> web.Response:
        return web.Response(headers={hdrs.ALLOW: VIEWER_METHODS, ACCEPT_PATCH: FRAGMENT})

    def _refuse(self, status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
        logger.info("Refused a viewer with %d: %s", status, reason)
        self._metrics.refused.labels(str(status)).inc()
        return web.Response(status=status, text=reason, headers=headers)

    def _add_links(self, response: web.Response) -> None:
        for link in (link for server in minted(self._settings) for link in server.links()):
            response.headers.add(hdrs.LINK, link)
