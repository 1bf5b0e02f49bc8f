"""WHIP (RFC 9725): an SDP offer in, an answer out; and the register of the peers that came this way."""

import asyncio
import logging
import secrets
from contextlib import suppress

from aiohttp import hdrs, web

from server.gpu_worker import GpuWorker, Phase
from server.metrics import Metrics
from server.peer import InvalidOffer, Peer
from server.recordings import Recordings
from server.session import LiveSession
from server.settings import IceServer, Settings

logger = logging.getLogger(__name__)

SDP = "application/sdp"
RETRY_AFTER_S = 5
METHODS = "POST, OPTIONS"
RESOURCE_METHODS = "DELETE, OPTIONS"


ADMITTING_S = 0.05  # how soon a peer that is being admitted is looked at again


class ServerFull(Exception):
    """As many peers as allowed are here already."""


class Peers:
    """Every peer of this process. Each has one task that attends it and closes it, whatever happens."""

    def __init__(
        self, settings: Settings, worker: GpuWorker, metrics: Metrics, recordings: Recordings
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._metrics = metrics
        self._recordings = recordings
        self._peers: dict[str, Peer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._peers)

    def find(self, id: str) -> LiveSession | None:
        """The running session of this id."""
        peer = self._peers.get(id)
        return peer.session if peer else None

    async def admit(self, offer: str) -> tuple[str, str]:
        """A new peer's id and the answer to its offer. Raises ServerFull or InvalidOffer."""
        if self._is_closing:
            raise ServerFull("the server is shutting down")
        if len(self._peers) >= self._settings.max_sessions:
            raise ServerFull(f"all {self._settings.max_sessions} places are taken; try again soon")
        id = secrets.token_urlsafe(16)  # whoever knows it may end the session
        peer = Peer(id, self._settings, self._worker, self._metrics, self._recordings)
        self._peers[id] = peer
        self._metrics.sessions.set(len(self))
        try:
            answer = await peer.accept(offer)
        except BaseException:
            await self._leave(peer)
            raise
        self._tasks[id] = asyncio.create_task(self._attend(peer))
        return id, answer

    async def dismiss(self, id: str, reason: str) -> bool:
        """End a peer and wait until it is closed; False when there is none of this id."""
        task = self._tasks.get(id)
        if task is None:
            return False
        self._peers[id].hang_up(reason)
        await asyncio.wait([task])
        return True

    async def dismiss_all(self) -> None:
        """End every peer, those still being admitted too, and admit no more; returns when all are closed."""
        self._is_closing = True
        for peer in self._peers.values():
            peer.hang_up("the server is shutting down")
        while self._peers:  # one whose offer is just being answered has no task yet
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            else:
                await asyncio.sleep(ADMITTING_S)

    async def _attend(self, peer: Peer) -> None:
        try:
            await peer.attend()
        finally:
            await self._leave(peer)

    async def _leave(self, peer: Peer) -> None:
        try:
            await peer.close()
        finally:
            del self._peers[peer.id]
            self._tasks.pop(peer.id, None)
            self._metrics.sessions.set(len(self))


class Whip:
    """The routes of the WHIP endpoint. Refusals are plain text that says what to do."""

    def __init__(self, settings: Settings, worker: GpuWorker, metrics: Metrics, peers: Peers) -> None:
        self._worker = worker
        self._metrics = metrics
        self._peers = peers
        self._links = [_link(url, server) for server in settings.ice_servers for url in server.urls]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whip", self.post),
            web.options("/whip", self.options),
            web.options("/whip/{id}", self.options_of_resource),
            web.delete("/whip/{id}", self.delete),
            web.patch("/whip/{id}", self.patch),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Accept an offer: 201 with the answer; 400, 413, 415 or 503 with a reason."""
        if request.content_type != SDP:
            return self._refuse(415, f"expected Content-Type {SDP}, got {request.content_type}")
        if self._worker.readiness.phase in (Phase.FAILED, Phase.STOPPED):
            return self._refuse(503, self._worker.readiness.reason)
        try:
            id, answer = await self._peers.admit(await request.text())
        except UnicodeDecodeError:
            return self._refuse(400, "the offer is not UTF-8 text")
        except InvalidOffer as error:
            return self._refuse(400, str(error))
        except ServerFull as error:
            return self._refuse(503, str(error), {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)})
        response = web.Response(status=201, text=answer, content_type=SDP)
        response.headers[hdrs.LOCATION] = f"/whip/{id}"
        response.headers[hdrs.ETAG] = f'"{id}"'
        self._add_links(response)
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
                await self._peers.dismiss(id, "left before it was answered")

    async def delete(self, request: web.Request) -> web.Response:
        """End a session: 200 once everything it held is free."""
        if not await self._peers.dismiss(request.match_info["id"], "asked to"):
            return web.Response(status=404, text="no such session; it may have ended")
        return web.Response(text="ended")

    async def patch(self, request: web.Request) -> web.Response:
        """Trickled candidates and ICE restarts are not taken: the offer must come with its candidates."""
        return web.Response(
            status=405,
            text="PATCH is not supported: send the offer with all its candidates",
            headers={hdrs.ALLOW: RESOURCE_METHODS},
        )

    async def options(self, request: web.Request) -> web.Response:
        """What may be posted here, and the ICE servers to use (RFC 9725, 4.5)."""
        response = web.Response(headers={hdrs.ALLOW: METHODS, "Accept-Post": SDP})
        self._add_links(response)
        return response

    async def options_of_resource(self, request: web.Request) -> web.Response:
        return web.Response(headers={hdrs.ALLOW: RESOURCE_METHODS})

    def _refuse(self, status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
        logger.info("Refused an offer with %d: %s", status, reason)
        self._metrics.refused.labels(str(status)).inc()
        return web.Response(status=status, text=reason, headers=headers)

    def _add_links(self, response: web.Response) -> None:
        for link in self._links:
            response.headers.add(hdrs.LINK, link)


def _link(url: str, server: IceServer) -> str:
    """One ICE server as a Link header (RFC 9725, 4.6)."""
    link = f'<{url}>; rel="ice-server"'
    if server.username is not None and server.credential is not None:
        secret = server.credential.get_secret_value()
        link += f'; username="{server.username}"; credential="{secret}"; credential-type="password"'
    return link
