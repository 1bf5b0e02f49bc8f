"""WHEP client: one connection that watches a session, from its offer to its DELETE."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import urljoin

import aiohttp
from aiohttp import hdrs
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from server.webrtc.aiortc_patches.decoding import Decoding
from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer
from server.webrtc.aiortc_patches.loss_recovery import LossRecovery
from server.webrtc.tracks import drain

logger = logging.getLogger(__name__)

SDP = "application/sdp"
ANSWER_LIMIT_S = 10.0  # for each request
CONNECT_LIMIT_S = 15.0  # from the answer to the connection
CLOSE_LIMIT_S = 5.0
MOST_TOLD = 300  # characters of what a server says
MOST_ICE_SERVERS = 8
MOST_ANSWER = 256 * 1024  # bytes of an SDP answer
_LINK = re.compile(r'<([^<>]+)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]+))')


class WatchRefused(Exception):
    """The server says no; the text says why. `retry_after` in seconds, None where it names no time."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class WatchLost(Exception):
    """No connection has come about, or it is gone; the text says why."""


@asynccontextmanager
async def watching(
    http: aiohttp.ClientSession, address: str, show: Callable[[VideoFrame], None]
) -> AsyncGenerator[asyncio.Event]:
    """Watch the session whose WHEP endpoint is at `address`: each picture is handed to `show`, on the loop.

    Yields an event, set when the connection is gone. Raises WatchRefused or WatchLost.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=await _ice_servers(http, address)))
    gone = asyncio.Event()
    connected = asyncio.Event()

    def follow() -> None:
        if pc.connectionState == "connected":
            connected.set()
        elif pc.connectionState in ("failed", "closed"):
            gone.set()

    pc.on("connectionstatechange", follow)
    receiver = pc.addTransceiver("video", direction="recvonly").receiver
    # As the server takes its cameras: bounded, without waiting for the next picture, asking for what is lost.
    buffer = use_marker_jitter_buffer(receiver)
    decoding = Decoding(receiver, rejected=_rejected, dropped=lambda count: None)
    tasks: list[asyncio.Task[None]] = []
    resource = None
    try:
        await pc.setLocalDescription(await pc.createOffer())
        answer, resource = await _offered(http, address, pc.localDescription.sdp)
        try:
            await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        except (ValueError, AttributeError, LookupError) as error:  # as aiortc has it
            raise WatchLost("the server's answer is no SDP that can be used") from error
        pictures = drain(receiver.track, show)
        tasks += map(asyncio.create_task, (pictures, LossRecovery(receiver, buffer, decoding).run()))
        tasks[0].add_done_callback(lambda task: gone.set())
        await _first(connected, gone)
        yield gone
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if resource is not None:
            await _left(http, resource)
        await _closed(pc, decoding)


async def _first(connected: asyncio.Event, gone: asyncio.Event) -> None:
    """Until it is connected. Raises WatchLost."""
    waits = [asyncio.create_task(event.wait()) for event in (connected, gone)]
    await asyncio.wait(waits, timeout=CONNECT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if not connected.is_set():
        raise WatchLost(
            "the server answers, but no video comes through: is UDP between it and this machine blocked?"
        )


async def _offered(http: aiohttp.ClientSession, address: str, offer: str) -> tuple[str, str]:
    """The answer, and where the connection is to be ended. Raises WatchRefused or WatchLost."""
    with _reachable(address):
        async with http.post(
            address, data=offer, headers={hdrs.CONTENT_TYPE: SDP}, timeout=_limit()
        ) as response:
            text = (await response.content.read(MOST_ANSWER)).decode(errors="replace")
            if response.status != 201:
                raise WatchRefused(response.status, _told(text, response), _retry_after(response))
            if response.content.at_eof() is False:
                raise WatchLost("the server's answer is too long for one")
            location = response.headers.get(hdrs.LOCATION)
            if location is None:
                raise WatchLost("the server's answer names no Location, as WHEP's have")
            return text, urljoin(str(response.url), location)


async def _ice_servers(http: aiohttp.ClientSession, address: str) -> list[RTCIceServer]:
    """Those that the server names (RFC 9725, 4.6); none where it does not answer: the offer will tell why."""
    with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with http.options(address, timeout=_limit()) as response:
            return ice_servers_of(response.headers.getall(hdrs.LINK, ()))
    return []


def ice_servers_of(links: Iterable[str]) -> list[RTCIceServer]:
    """ICE servers among the values of Link headers, the first MOST_ICE_SERVERS of them."""
    found: list[RTCIceServer] = []
    for value in links:
        for target, rest in _LINK.findall(value):
            parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
            if parameters.get("rel") == "ice-server":
                found.append(
                    RTCIceServer(
                        urls=[target],
                        username=parameters.get("username"),
                        credential=parameters.get("credential"),
                    )
                )
    return found[:MOST_ICE_SERVERS]


async def _left(http: aiohttp.ClientSession, resource: str) -> None:
    """The server is told; if it cannot be, it notices by itself."""
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with http.delete(resource, timeout=_limit()):
            pass


async def _closed(pc: RTCPeerConnection, decoding: Decoding) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await pc.close()
            await decoding.close()


def _limit() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=ANSWER_LIMIT_S)


def _told(text: str, response: aiohttp.ClientResponse) -> str:
    """What the server says of it, on one line; what it is called, where it says nothing."""
    words = " ".join(text.split())[:MOST_TOLD]
    return words or str(response.reason or response.status)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get(hdrs.RETRY_AFTER, "")
    return float(value) if value.isdecimal() else None


def _rejected(error: Exception) -> None:
    logger.warning("A picture is not shown: %s", error)


@contextmanager
def _reachable(address: str) -> Generator[None]:
    """What keeps a request from an answer becomes WatchLost."""
    try:
        yield
    except aiohttp.InvalidURL as error:
        raise WatchLost(f"{address} is no address of a server") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise WatchLost(
            "the server's certificate is not trusted here: name the file that has it in SSL_CERT_FILE"
        ) from error
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one, and says nothing
        raise WatchLost(f"the server cannot be reached: {str(error) or 'no answer in time'}") from error
