"""PATCH of a WHIP or WHEP resource: trickled candidates and ICE restarts by HTTP (RFC 9725, 4.3)."""

import math
from typing import Protocol

from aiohttp import hdrs, web

from server.webrtc.aiortc_patches.ice_restart import RestartRefused, RestartTooSoon
from server.webrtc.aiortc_patches.udp_ports import NoUdpPort
from server.webrtc.trickle import Fragment, InvalidFragment, parse_fragment

FRAGMENT = "application/trickle-ice-sdpfrag"
ACCEPT_PATCH = "Accept-Patch"
RETRY_AFTER_S = "2"


class Trickled(Protocol):
    """A connection that takes candidates after its offer. WebRtcPeer and Viewer are ones."""

    @property
    def etag(self) -> str:
        """Quoted; of its newest ICE session."""
        ...

    async def add_candidates(self, fragment: Fragment) -> str | None:
        """The fragment to answer if this is an ICE restart. Raises as Trickle.add does."""
        ...


class FragmentRefused(Exception):
    """The text says why, and what to do."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


async def take_fragment(request: web.Request, connection: Trickled) -> web.Response:
    """204, or 200 with the server's side of an ICE restart, and its ETag.

    Raises FragmentRefused with 400, 409, 412, 415, 428, 429 or 503; the ICE session goes on as it was.
    """
    if request.content_type != FRAGMENT:
        raise FragmentRefused(415, f"expected Content-Type {FRAGMENT}", {ACCEPT_PATCH: FRAGMENT})
    match = request.headers.get(hdrs.IF_MATCH)
    if match is None:
        raise FragmentRefused(428, "expected If-Match with the ETag of the ICE session, or * for a restart")
    if match != "*" and connection.etag not in (tag.strip() for tag in match.split(",")):
        raise FragmentRefused(412, "If-Match names another ICE session than the one that runs")
    try:
        answer = await connection.add_candidates(parse_fragment(await request.text()))
    except UnicodeDecodeError as error:
        raise FragmentRefused(400, "the fragment is not UTF-8 text") from error
    except InvalidFragment as error:
        raise FragmentRefused(400, f"this fragment cannot be used: {error}") from error
    except RestartTooSoon as error:
        raise FragmentRefused(429, str(error), {hdrs.RETRY_AFTER: str(math.ceil(error.seconds))}) from error
    except RestartRefused as error:
        raise FragmentRefused(409, f"no ICE restart: {error}") from error
    except NoUdpPort as error:
        raise FragmentRefused(503, str(error), {hdrs.RETRY_AFTER: RETRY_AFTER_S}) from error
    if answer is None:
        return web.Response(status=204)
    return web.Response(text=answer, content_type=FRAGMENT, headers={hdrs.ETAG: connection.etag})
