"""OpenAPI paths of media connections: WHIP, WHEP and the WebSocket."""

from server.http.openapi_parts import NO_SESSION, Json, answer, handshake, operation, parameter, text
from server.placement.lease_tokens import MAX_TOKEN_LENGTH

NOTHING: Json = {"description": "In the headers."}


def whip_paths() -> Json:
    """Publishing, and the line before a full server."""
    offer = {
        "required": True,
        "description": "An offer with one video track, sendrecv or sendonly; its candidates may follow.",
        "content": {"application/sdp": {"schema": {"type": "string"}}},
    }
    created = answer("The answer.", "application/sdp") | {
        "headers": {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in {
                "Location": "the session: /whip/{id}",
                "ETag": "of the session's ICE",
                "Link": "an ICE server each",
            }.items()
        }
    }
    return {
        "/whip": {
            "post": {"parameters": [_former(), _ticket(), _lease()]}
            | operation(
                "Begin a session (WHIP).",
                {
                    "201": created,
                    "400": text("The offer cannot be used."),
                    "403": text("The lease is missing, used or over."),
                    "404": text("The session to go on with is gone: begin a new one."),
                    "415": text("It is not application/sdp."),
                    "503": text("No place is free (then with Retry-After), or no model."),
                },
                offer,
            ),
            "delete": {"parameters": [_ticket() | {"required": True}]}
            | operation(
                "Leave the line before a full server: the ticket is given back.",
                {
                    "200": text("Whoever is behind moves up."),
                    "400": text("This is no ticket."),
                    "404": text("Nobody waits with it."),
                },
            ),
            "options": operation("What may be posted, and ICE servers.", {"200": NOTHING}),
        },
        "/whip/{id}": {
            "parameters": [parameter("id", "of the session")],
            "delete": operation(
                "End a session.", {"200": text("All it held is free."), "404": text(NO_SESSION)}
            ),
            "patch": _trickle(NO_SESSION),
            "options": operation("What may be done to it.", {"200": NOTHING}),
        },
    }


def _trickle(missing: str) -> Json:
    restarted = answer("The server's side of an ICE restart.", "application/trickle-ice-sdpfrag") | {
        "headers": {"ETag": {"description": "of the new ICE session", "schema": {"type": "string"}}}
    }
    return {"parameters": [_if_match()]} | operation(
        "Trickled ICE candidates, or an ICE restart (application/trickle-ice-sdpfrag).",
        {
            "200": restarted,
            "204": {"description": "The candidates are taken."},
            "400": text("The fragment cannot be used."),
            "404": text(missing),
            "409": text("No ICE restart can begin now: another one is under way, or there is no connection."),
            "412": text("If-Match names another ICE session."),
            "415": text("Another type."),
            "428": text("If-Match is missing."),
            "429": text("The last ICE restart has just begun; Retry-After says when to ask again."),
            "503": text("No UDP port is free for the restart."),
        },
        {
            "required": True,
            "description": "RFC 8840: a fragment with candidates, or with new credentials.",
            "content": {"application/trickle-ice-sdpfrag": {"schema": {"type": "string"}}},
        },
    )


def _if_match() -> Json:
    return {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "the ETag of the ICE session that runs; * for a restart of whichever does",
        "schema": {"type": "string"},
    }


def media_socket_paths() -> Json:
    """Pictures by WebSocket."""
    return {
        "/ws": {
            "parameters": [_former(), _ticket(), _lease(), *handshake()],
            "get": operation(
                "Begin a session whose pictures go through this WebSocket too.",
                {
                    "101": {
                        "description": "It is open; if refused, closed again with 4403, 4404, 4500 or 4503."
                    },
                    "400": text("This is no WebSocket handshake."),
                },
            ),
        }
    }


def _former() -> Json:
    return {
        "name": "session",
        "in": "query",
        "description": "the id of a session whose connection was lost, to go on with it",
        "schema": {"type": "string"},
    }


def _ticket() -> Json:
    return {
        "name": "ticket",
        "in": "query",
        "description": "of the client's own making; asking again with it keeps the place in line",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"},
    }


def _lease() -> Json:
    return {
        "name": "lease",
        "in": "query",
        "description": "of a cluster's worker alone, which takes nobody without: a place that a gateway has "
        "leased, good once. Whoever is refused for it, with 403 or 4403, asks the gateway again",
        "schema": {"type": "string", "maxLength": MAX_TOKEN_LENGTH},
    }


def whep_paths() -> Json:
    """Watching a session."""
    id = parameter("id", "of the session to watch: the last part of its publisher's Location")
    headers = {
        "Location": "the viewer: /sessions/{id}/whep/{viewer}",
        "ETag": "of the viewer's ICE",
        "Link": "an ICE server each",
    }
    created = answer("The answer.", "application/sdp") | {
        "headers": {
            name: {"description": about, "schema": {"type": "string"}} for name, about in headers.items()
        }
    }
    offer = {
        "required": True,
        "description": "An offer with one video track, recvonly. Audio may be offered and is not sent.",
        "content": {"application/sdp": {"schema": {"type": "string"}}},
    }
    return {
        "/sessions/{id}/whep": {
            "parameters": [id],
            "post": operation(
                "Watch a session (WHEP).",
                {
                    "201": created,
                    "400": text("The offer cannot be used."),
                    "404": text(NO_SESSION),
                    "415": text("It is not application/sdp."),
                    "503": text("As many watch it as may: with Retry-After."),
                },
                offer,
            ),
            "options": operation("What may be posted, and ICE servers.", {"200": NOTHING}),
        },
        "/sessions/{id}/whep/{viewer}": {
            "parameters": [id, parameter("viewer", "the last part of the viewer's Location")],
            "delete": operation(
                "Stop watching.",
                {"200": text("The connection is closed."), "404": text("There is no such viewer.")},
            ),
            "patch": _trickle("There is no such viewer."),
            "options": operation("What may be done to it.", {"200": NOTHING}),
        },
    }
