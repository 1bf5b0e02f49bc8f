"""ICE restarts (RFC 9725, 4.3.3): a connection goes over to another path, and DTLS above notices nothing.

An aioice connection keeps its credentials, sockets and pair for life, and aiortc has no restart. So one of
ours stands where aiortc keeps the aioice connection, reads from it, and can go over to a new one. Until that
is connected the old one carries everything; if it never is, the old one stays. `test_ice_restart.py` fails if
aiortc keeps or uses its connection in another way.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from aioice import Candidate, Connection, ConnectionClosed
from aiortc import RTCIceCandidate, RTCIceGatherer, RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import RTCIceParameters, candidate_to_aioice

from server.webrtc.aiortc_patches.consent import hand_consent_on

logger = logging.getLogger(__name__)

REST_S = 2.0  # between the beginnings of two restarts of one connection: each opens sockets
LINGER_S = 2.0  # for what the other side still sends to the path left behind


class RestartRefused(Exception):
    """No restart can be begun now; the text says why. The connection is as it was."""


class RestartTooSoon(RestartRefused):
    """It could be a little later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the last ICE restart has just begun; ask again in {seconds:.1f} s")
        self.seconds = seconds


class RestartableIce:
    """What aiortc uses of an aioice connection, on top of one that may change.

    ice = restartable(pc)                    # once all transports of `pc` are made
    gatherer = await ice.prepare(servers)    # the other side is told of its parameters and candidates
    ice.go_over(remote_parameters, remote_candidates, patience)  # or: await ice.abandon()
    """

    def __init__(self, first: Connection) -> None:
        self.remote_is_lite = False
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self._current = first
        self._next: Connection | None = None  # of the restart under way
        self._newest = first  # one of these two, or that of the last restart, which has failed
        self._going: asyncio.Task[None] | None = None
        self._last = -REST_S  # when a restart began, by the loop's clock
        self._pumps: dict[Connection, asyncio.Task[None]] = {}
        self._ends: set[asyncio.Task[None]] = set()  # of connections left behind
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: there will be no more
        self._is_connected = False  # since the first path was found
        self._is_lost = asyncio.Event()

    # As aioice.Connection

    @property
    def ice_controlling(self) -> bool:
        return self._current.ice_controlling

    @ice_controlling.setter
    def ice_controlling(self, is_so: bool) -> None:
        self._current.ice_controlling = is_so

    @property
    def local_username(self) -> str:
        return self._current.local_username

    @property
    def local_password(self) -> str:
        return self._current.local_password

    @property
    def local_candidates(self) -> list[Candidate]:
        return self._current.local_candidates

    @property
    def remote_candidates(self) -> list[Candidate]:
        return self._current.remote_candidates

    async def gather_candidates(self) -> None:
        await self._current.gather_candidates()

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        await self._current.add_remote_candidate(candidate)

    async def connect(self) -> None:
        """Raises ConnectionError if there is no path."""
        first = self._current
        first.remote_is_lite = self.remote_is_lite
        first.remote_username, first.remote_password = self.remote_username, self.remote_password
        await first.connect()
        self._begin(first)
        self._is_connected = True

    async def get_event(self) -> ConnectionClosed:
        await self._is_lost.wait()
        return ConnectionClosed()

    async def recv(self) -> bytes:
        """The next datagram over either path. Raises ConnectionError once there is none, and before."""
        if not self._is_connected or (self._is_lost.is_set() and self._received.empty()):
            raise ConnectionError("Cannot receive data, not connected")
        data = await self._received.get()
        if data is None:
            raise ConnectionError("Connection lost while receiving data")
        return data

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError without a path; what is sent while a restart may bring one is lost."""
        try:
            await self._current.send(data)
        except ConnectionError:
            if self._next is None:
                raise

    async def close(self) -> None:
        """Both paths. Safe to call twice."""
        self._lose()
        if self._going is not None:
            self._going.cancel()
            await asyncio.wait([self._going])
        await self.abandon()
        await self._current.close()
        await asyncio.gather(*self._ends, *self._pumps.values(), return_exceptions=True)

    # The restart

    async def prepare(self, servers: list[RTCIceServer] | None) -> RTCIceGatherer:
        """New credentials and candidates for the other side. Raises RestartRefused.

        From now on no other restart can begin, until this one has succeeded, has failed or is abandoned.
        """
        now = asyncio.get_running_loop().time()
        if not self._is_connected or self._is_lost.is_set():
            raise RestartRefused("there is no ICE session yet that could be restarted, or it is over")
        if self._next is not None:
            raise RestartRefused("another ICE restart is under way; wait until it has succeeded or failed")
        if now < self._last + REST_S:
            raise RestartTooSoon(self._last + REST_S - now)
        self._last = now
        gatherer: Any = RTCIceGatherer(iceServers=servers)
        self._next = gatherer._connection
        hand_consent_on(self._current, gatherer._connection)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.abandon)
            await gatherer.gather()
            if self._is_lost.is_set():
                await gatherer._connection.close()  # again, if it was: it has opened sockets meanwhile
                raise RestartRefused("the connection is over")
            undo.pop_all()
        return gatherer

    def go_over(
        self, remote: RTCIceParameters, candidates: Sequence[RTCIceCandidate], patience: float
    ) -> None:
        """Use the new path as soon as it is found, which is given up after `patience` seconds.

        Call it after prepare(), before anything else is awaited.
        """
        connection = self._next
        assert connection is not None, "prepare() comes first"
        self._newest = connection
        connection.ice_controlling = self._current.ice_controlling
        connection.remote_username, connection.remote_password = remote.usernameFragment, remote.password
        self._going = asyncio.create_task(self._go_over(connection, candidates, patience))

    async def add_candidate(self, candidate: RTCIceCandidate) -> None:
        """One more of the other side for the newest path; ignored if that could not be found."""
        await self._newest.add_remote_candidate(candidate_to_aioice(candidate))

    async def abandon(self) -> None:
        """Give up the restart that was prepared, if there is one."""
        connection, self._next = self._next, None
        if connection is not None:
            await connection.close()
            self._check()

    async def _go_over(
        self, connection: Connection, candidates: Sequence[RTCIceCandidate], patience: float
    ) -> None:
        # aioice is not told where they end: without a usable one it would give up at once, though the other
        # side knows where we are, and its checks may arrive.
        adding = asyncio.gather(*map(self.add_candidate, candidates), return_exceptions=True)
        try:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(patience):
                    await connection.connect()
                left, self._current, self._next = self._current, connection, None
                self._begin(connection)
                self._leave(left, LINGER_S)
        finally:
            adding.cancel()
            logger.info("An ICE restart has %s", "failed" if self._next is connection else "succeeded")
            if self._next is connection:
                self._next = None
                self._leave(connection, 0)
                self._check()

    def _begin(self, connection: Connection) -> None:
        self._pumps[connection] = asyncio.create_task(self._pump(connection))

    async def _pump(self, connection: Connection) -> None:
        try:
            while True:
                if data := await connection.recv():  # an empty datagram says nothing, and would end DTLS
                    self._received.put_nowait(data)
        except ConnectionError:
            pass
        finally:
            del self._pumps[connection]
            self._check()

    def _check(self) -> None:
        """Without a path in use, and none to come, all is over."""
        if self._current not in self._pumps and self._next is None:
            self._lose()

    def _lose(self) -> None:
        if not self._is_lost.is_set():
            self._is_lost.set()
            self._received.put_nowait(None)

    def _leave(self, connection: Connection, after: float) -> None:
        end = asyncio.create_task(self._close_later(connection, after))
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    async def _close_later(self, connection: Connection, after: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(after):
                await self._is_lost.wait()
        await connection.close()


def restartable(pc: RTCPeerConnection) -> RestartableIce | None:
    """Make the ICE of `pc` restartable; None if its media have several transports, for want of BUNDLE.

    Call it once the remote description is set, or for an offer the local one, and before it is answered.
    """
    transports: set[Any] = {one.receiver.transport.transport for one in pc.getTransceivers()}
    if pc.sctp is not None:
        transports.add(pc.sctp.transport.transport)
    if len(transports) != 1:
        return None
    (transport,) = transports
    ice = RestartableIce(transport._connection)
    transport._connection = transport.iceGatherer._connection = ice
    transport._recv, transport._send = ice.recv, ice.send
    return ice
