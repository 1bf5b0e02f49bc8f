"""Endpoint /ws: a session whose pictures and messages go by WebSocket, where UDP does not get through."""

import logging

from aiohttp import web

from server.access.guard import access_of
from server.client_address import client_address
from server.engine.client import Phase
from server.metrics import Refusal
from server.placement.admission import is_ticket
from server.placement.lease_tokens import LeaseRefused
from server.placement.port import NoPlace
from server.services import Services
from server.session.session import LiveSession
from server.transport.peer_registry import PeerRegistry, SessionGone
from server.websocket.control import refuse_no_handshake
from server.websocket.media_frame import MAX_MESSAGE_BYTES
from server.websocket.peer import WebSocketPeer, close_reason

logger = logging.getLogger(__name__)

HEARTBEAT_S = 20.0  # of the WebSocket itself, for clients that send no ping messages
CLOSE_TIMEOUT_S = 1.0

# A page cannot read how a handshake was refused, so it is accepted and closed: 4000 and the HTTP status.
NO_LEASE = 4403
GONE = 4404
FULL = 4503
NO_MODEL = 4500


class MediaSocket:
    """The route. Refusals are close codes with plain text that says what to do."""

    def __init__(self, services: Services, peers: PeerRegistry) -> None:
        self._services = services
        self._peers = peers

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws", self.socket, allow_head=False)]

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """101, 400 for what is no handshake or has a bad ticket.

        With `?session=` and the id of a session whose peer was lost, that session goes on. With `?ticket=`,
        as with WHIP, who finds the server full waits in line. A cluster's worker takes those with a `?lease=`
        alone.
        """
        ticket = request.query.get("ticket")
        if ticket is not None and not is_ticket(ticket):
            raise web.HTTPBadRequest(text="ticket: expected 16 to 64 letters, digits, - or _")
        refuse_no_handshake(request)
        # Not compressed: JPEGs do not get smaller, and it would take longer than they do.
        socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            heartbeat=HEARTBEAT_S,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,
            autoping=False,
        )
        await socket.prepare(request)

        def make(session: LiveSession) -> WebSocketPeer:
            access = access_of(request)
            access.own(session.id)
            return WebSocketPeer(socket, session, self._services, access.validity)

        readiness = self._services.engine.readiness
        if readiness.phase in (Phase.FAILED, Phase.STOPPED):
            return await self._refuse(socket, NO_MODEL, "no_model", readiness.reason)
        former, gate = request.query.get("session"), self._services.gate
        try:
            place = None if gate is None else gate.check(request.query.get("lease"))
            peer = await self._peers.add(make, former, ticket, client_address(request), place)
        except LeaseRefused as error:
            return await self._refuse(socket, NO_LEASE, "lease", str(error))
        except SessionGone as error:
            return await self._refuse(socket, GONE, "no_session", str(error))
        except NoPlace as error:
            return await self._refuse(socket, FULL, error.why, str(error))
        await peer.is_closed.wait()
        return socket

    async def _refuse(
        self, socket: web.WebSocketResponse, code: int, why: Refusal, reason: str
    ) -> web.WebSocketResponse:
        logger.info("Refused a WebSocket with %d: %s", code, reason)
        self._services.metrics.refused(code, why)
        await socket.close(code=code, message=close_reason(reason))
        return socket
