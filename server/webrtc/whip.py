"""WHIP endpoint (RFC 9725): an SDP offer in, an answer out."""

from contextlib import suppress

from aiohttp import hdrs, web

from server.access.guard import access_of
from server.client_address import client_address
from server.engine.client import Phase
from server.placement.admission import is_ticket
from server.placement.lease_tokens import LeaseRefused
from server.placement.port import NoPlace
from server.services import Services
from server.session.session import LiveSession
from server.transport.peer_registry import PeerRegistry, SessionGone
from server.webrtc.aiortc_patches.udp_ports import NoUdpPort
from server.webrtc.candidates import address_rule
from server.webrtc.endpoint import SDP, SdpEndpoint
from server.webrtc.offer import read_offer
from server.webrtc.peer import WebRtcPeer
from server.webrtc.sdp_sections import InvalidOffer

RETRY_AFTER_S = 2
QUEUE_POSITION = "Queue-Position"
METHODS = "POST, DELETE, OPTIONS"
BAD_TICKET = "ticket: expected 16 to 64 letters, digits, - or _"


class Whip:
    """The routes of the WHIP endpoint. Refusals are plain text that says what to do."""

    def __init__(self, services: Services, peers: PeerRegistry) -> None:
        self._settings = services.settings
        self._engine = services.engine
        self._gate = services.gate
        self._peers = peers
        self._endpoint = SdpEndpoint(services, "WHIP")

    def routes(self) -> list[web.RouteDef]:
        return [
            *(
                route
                for path in ("/whip", "/whip/")
                for route in (
                    web.post(path, self.post),
                    web.delete(path, self.leave_queue),
                    web.options(path, self.options),
                )
            ),
            web.options("/whip/{id}", self.options_of_resource),
            web.delete("/whip/{id}", self.delete),
            web.patch("/whip/{id}", self.patch),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Accept an offer: 201 with the answer; 400, 403, 404, 413, 415 or 503 with a reason.

        With `?session=` and the id of a session whose peer was lost, that session goes on. With `?ticket=`
        whoever finds the server full waits in line. A cluster's worker takes those with a `?lease=` alone.
        """
        if request.content_type != SDP:
            return self._endpoint.refuse(
                415, "media_type", f"expected Content-Type {SDP}, got {request.content_type}"
            )
        if self._engine.readiness.phase in (Phase.FAILED, Phase.STOPPED):
            return self._endpoint.refuse(503, "no_model", self._engine.readiness.reason)
        former, ticket = request.query.get("session"), request.query.get("ticket")
        if ticket is not None and not is_ticket(ticket):
            return self._endpoint.refuse(400, "ticket", BAD_TICKET)

        def make(session: LiveSession) -> WebRtcPeer:
            access = access_of(request)
            access.own(session.id)
            return WebRtcPeer(
                session, self._settings, offer, is_back=former is not None, validity=access.validity
            )

        try:
            text, rule = await request.text(), address_rule(request, self._settings)
            address = client_address(request)
            # While there is no place, nothing is read.
            place = None if self._gate is None else self._gate.check(request.query.get("lease"))
            if place is None and former is None:
                self._peers.check_room(ticket, address)
            # Before a former peer is hung up for it, or a place is taken.
            offer = read_offer(text, "publisher", self._settings.codecs, rule)
            peer = await self._peers.add(
                make,
                former,
                ticket,
                address,
                place,
            )
        except UnicodeDecodeError:
            return self._endpoint.refuse(400, "malformed", "the offer is not UTF-8 text")
        except InvalidOffer as error:
            return self._endpoint.refuse(400, "malformed", str(error))
        except LeaseRefused as error:
            return self._endpoint.refuse(403, "lease", str(error))
        except SessionGone as error:
            return self._endpoint.refuse(404, "no_session", str(error))
        except NoUdpPort as error:
            return self._endpoint.refuse(
                503, "no_udp_port", str(error), {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)}
            )
        except NoPlace as error:
            headers: dict[str, str] = {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)}
            if error.position is not None:
                headers[QUEUE_POSITION] = str(error.position)
            return self._endpoint.refuse(503, error.why, str(error), headers)
        id = peer.session.id
        response = self._endpoint.accepted(request, peer.answer, f"/whip/{id}", peer)
        await self._answer(request, response, id)
        return response

    async def _answer(self, request: web.Request, response: web.Response, id: str) -> None:
        """Send the answer to an offer; the peer of a client that is gone by then is dismissed at once.

        Such a client never learns which session to delete, and would hold its place until it is found not to
        connect. Sent here, not by aiohttp once the handler has returned, to see whether it could be.
        """
        is_sent = False
        try:
            with suppress(
                ConnectionError
            ):  # aiohttp, which sends what is returned, meets and ignores it again
                await response.prepare(request)
                await response.write_eof()
                # A write that fails in the socket raises nothing: it closes the transport.
                is_sent = request.transport is not None and not request.transport.is_closing()
        finally:
            if not is_sent:
                await self._peers.dismiss(
                    id, "left before it was answered", may_return="session" in request.query
                )

    async def delete(self, request: web.Request) -> web.Response:
        """End a session: 200 once everything it held is free."""
        if not await self._peers.dismiss(request.match_info["id"], "asked to"):
            return web.Response(status=404, text="no such session; it may have ended")
        return web.Response(text="ended")

    async def leave_queue(self, request: web.Request) -> web.Response:
        """Give back the place in line of `?ticket=`: 200; 400 if it is no ticket, 404 if nobody has it."""
        ticket = request.query.get("ticket", "")
        if not is_ticket(ticket):
            return self._endpoint.refuse(400, "ticket", BAD_TICKET)
        if not self._peers.leave_queue(ticket):
            return web.Response(status=404, text="nobody waits with this ticket; it may have come in")
        return web.Response(text="left the line")

    async def patch(self, request: web.Request) -> web.Response:
        peer = self._peers.peer(request.match_info["id"])
        connection = peer if isinstance(peer, WebRtcPeer) else None
        return await self._endpoint.patched(
            request, connection, "no such session, or it has no WebRTC connection"
        )

    async def options(self, request: web.Request) -> web.Response:
        return self._endpoint.options(request, METHODS)

    async def options_of_resource(self, request: web.Request) -> web.Response:
        return self._endpoint.options_of_connection()
