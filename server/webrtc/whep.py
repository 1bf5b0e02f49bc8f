"""WHEP endpoint: anybody who knows a session's id may watch it; an SDP offer in, an answer out."""

from aiohttp import hdrs, web

from server.access.guard import access_of
from server.services import Services
from server.webrtc.aiortc_patches.udp_ports import NoUdpPort
from server.webrtc.candidates import address_rule
from server.webrtc.endpoint import SDP, SdpEndpoint
from server.webrtc.offer import read_offer
from server.webrtc.sdp_sections import InvalidOffer
from server.webrtc.viewer_registry import NothingToWatch, ViewerRegistry, ViewersFull

RETRY_AFTER_S = "5"
METHODS = "POST, OPTIONS"
NO_VIEWER = "no such viewer; it may have left, or its session ended"


class Whep:
    """The routes of the WHEP endpoint of each session. Refusals are plain text that says what to do."""

    def __init__(self, services: Services, viewers: ViewerRegistry) -> None:
        self._settings = services.settings
        self._viewers = viewers
        self._endpoint = SdpEndpoint(services, "WHEP")

    def routes(self) -> list[web.RouteDef]:
        return [
            *(
                route
                for path in ("/sessions/{id}/whep", "/sessions/{id}/whep/")
                for route in (
                    web.post(path, self.post),
                    web.options(path, self.options),
                )
            ),
            web.delete("/sessions/{id}/whep/{viewer}", self.delete),
            web.patch("/sessions/{id}/whep/{viewer}", self.patch),
            web.options("/sessions/{id}/whep/{viewer}", self.options_of_viewer),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Let a viewer in: 201 with the answer; 400, 404, 413, 415 or 503 with a reason."""
        session_id = request.match_info["id"]
        if request.content_type != SDP:
            return self._endpoint.refuse(
                415, "media_type", f"expected Content-Type {SDP}, got {request.content_type}"
            )
        try:
            text, rule = await request.text(), address_rule(request, self._settings)
            viewer, answer = await self._viewers.add(
                session_id,
                lambda: read_offer(text, "viewer", self._settings.codecs, rule),
                access_of(request).validity,
            )
        except UnicodeDecodeError:
            return self._endpoint.refuse(400, "malformed", "the offer is not UTF-8 text")
        except InvalidOffer as error:
            return self._endpoint.refuse(400, "malformed", str(error))
        except NothingToWatch as error:
            return self._endpoint.refuse(404, "no_session", str(error))
        except (ViewersFull, NoUdpPort) as error:
            why = "viewers_full" if isinstance(error, ViewersFull) else "no_udp_port"
            return self._endpoint.refuse(503, why, str(error), {hdrs.RETRY_AFTER: RETRY_AFTER_S})
        return self._endpoint.accepted(request, answer, f"/sessions/{session_id}/whep/{viewer.id}", viewer)

    async def delete(self, request: web.Request) -> web.Response:
        """A viewer leaves: 200 once its connection is closed; 404."""
        id, viewer = request.match_info["id"], request.match_info["viewer"]
        if not await self._viewers.dismiss(id, viewer, "asked to"):
            return web.Response(status=404, text=NO_VIEWER)
        return web.Response(text="ended")

    async def patch(self, request: web.Request) -> web.Response:
        viewer = self._viewers.find(request.match_info["id"], request.match_info["viewer"])
        return await self._endpoint.patched(request, viewer, NO_VIEWER)

    async def options(self, request: web.Request) -> web.Response:
        return self._endpoint.options(request, METHODS)

    async def options_of_viewer(self, request: web.Request) -> web.Response:
        return self._endpoint.options_of_connection()
