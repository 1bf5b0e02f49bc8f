"""Roles and routes: the one table of what each route asks for, and who has it."""

from collections.abc import Mapping
from enum import Enum, auto

from server.access.tokens import Grant


class Need(Enum):
    """What a route asks of whoever calls it. Of a session means: of the one that the request names."""

    NOTHING = auto()
    TOKEN = auto()  # of any role
    PUBLISH = auto()  # begin a session
    OWN = auto()  # end a session, move its connection, or go on with it
    CONTROL = auto()  # of a session
    VIEW = auto()  # of a session
    ADMIN = auto()


# Of every route of the application (method, path); HEAD is as GET. What begins a session asks for OWN where
# its query names one to go on with.
ROUTES: Mapping[tuple[str, str], Need] = {
    ("GET", "/"): Need.NOTHING,  # the page, and its files
    ("GET", "/healthz"): Need.NOTHING,
    ("GET", "/readyz"): Need.NOTHING,
    ("GET", "/openapi.json"): Need.NOTHING,
    ("GET", "/looks/{name}"): Need.NOTHING,
    ("POST", "/login"): Need.NOTHING,
    ("POST", "/logout"): Need.NOTHING,
    ("GET", "/api/info"): Need.TOKEN,
    ("GET", "/metrics"): Need.ADMIN,
    ("POST", "/whip"): Need.PUBLISH,
    ("DELETE", "/whip"): Need.PUBLISH,  # leaves the line
    ("OPTIONS", "/whip"): Need.NOTHING,  # a client asks this before it has a token
    ("DELETE", "/whip/{id}"): Need.OWN,
    ("PATCH", "/whip/{id}"): Need.OWN,
    ("OPTIONS", "/whip/{id}"): Need.NOTHING,
    ("GET", "/ws"): Need.PUBLISH,
    ("GET", "/sessions/{id}"): Need.VIEW,
    ("GET", "/sessions/{id}/snapshot"): Need.VIEW,
    ("POST", "/sessions/{id}/commands"): Need.CONTROL,
    ("GET", "/sessions/{id}/setup"): Need.CONTROL,
    ("PUT", "/sessions/{id}/setup"): Need.CONTROL,
    ("GET", "/sessions/{id}/ws"): Need.CONTROL,
    ("POST", "/sessions/{id}/images"): Need.CONTROL,
    ("GET", "/sessions/{id}/recordings/{name}"): Need.CONTROL,
    ("POST", "/sessions/{id}/whep"): Need.VIEW,
    ("OPTIONS", "/sessions/{id}/whep"): Need.NOTHING,
    ("DELETE", "/sessions/{id}/whep/{viewer}"): Need.VIEW,
    ("PATCH", "/sessions/{id}/whep/{viewer}"): Need.VIEW,
    ("OPTIONS", "/sessions/{id}/whep/{viewer}"): Need.NOTHING,
}


def need_of(method: str, path: str, prefix: str = "") -> Need:
    """Of a route, by the path that it was made with. With a slash at its end, or below the public prefix, it
    is the same. Raises KeyError."""
    method = "GET" if method == "HEAD" else method
    whole = ROUTES.get((method, path.rstrip("/") or "/"))  # first: a prefix may be called as a route is
    return ROUTES[method, path.removeprefix(prefix).rstrip("/") or "/"] if whole is None else whole


def is_met(need: Need, grant: Grant, session: str | None, owner: str | None) -> bool:
    """Whether a grant is enough. `session`: the one that the request names; `owner`: its publisher's name."""
    if need in (Need.NOTHING, Need.TOKEN) or grant.role == "admin" and grant.session is None:
        return True
    if need is Need.ADMIN or grant.session not in (None, session):
        return False
    is_own = (
        session is not None and grant.role == "publish" and (owner == grant.name or grant.session == session)
    )
    match need:
        case Need.PUBLISH:
            return grant.role == "publish"
        case Need.OWN:
            return is_own or grant.role == "admin"
        case Need.CONTROL:
            return is_own or grant.role in ("control", "admin")
        case Need.VIEW:
            return is_own or grant.role in ("view", "control", "admin")


def may_use_relay(grant: Grant) -> bool:
    """Whether credentials of TURN servers are for it: whoever sends or receives media needs them."""
    return grant.role != "control"
