"""PATCH of a WHIP or WHEP resource: trickled candidates by HTTP (RFC 9725, 4.3)."""

from typing import Protocol

from aiohttp import hdrs, web

from server.webrtc.trickle import Fragment, InvalidFragment, RestartNotSupported, parse_fragment

FRAGMENT = "application/trickle-ice-sdpfrag"
ACCEPT_PATCH = "Accept-Patch"


class Trickled(Protocol):
    """A connection that takes candidates after its offer. Peer and Viewer are ones."""

    etag: str  # quoted; of its ICE session

    async def add_candidates(self, fragment: Fragment) -> None: ...


class FragmentRefused(Exception):
    """The text says why, and what to do."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


async def take_fragment(request: web.Request, connection: Trickled, restart_instead: str) -> web.Response:
    """204; raises FragmentRefused with 400, 412, 415, 422 or 428.

    422 for an ICE restart, which aioice cannot do: `restart_instead` says what can be done.
    """
    if request.content_type != FRAGMENT:
        raise FragmentRefused(415, f"expected Content-Type {FRAGMENT}", {ACCEPT_PATCH: FRAGMENT})
    match = request.headers.get(hdrs.IF_MATCH)
    if match is None:
        raise FragmentRefused(428, "expected If-Match with the ETag of the answer to the offer")
    if match != "*" and connection.etag not in (tag.strip() for tag in match.split(",")):
        raise FragmentRefused(412, "If-Match names another ICE session than the one that runs")
    try:
        await connection.add_candidates(parse_fragment(await request.text()))
    except UnicodeDecodeError as error:
        raise FragmentRefused(400, "the fragment is not UTF-8 text") from error
    except InvalidFragment as error:
        raise FragmentRefused(400, f"this fragment cannot be used: {error}") from error
    except RestartNotSupported as error:
        raise FragmentRefused(422, f"ICE restarts are not supported: {restart_instead}") from error
    return web.Response(status=204)
