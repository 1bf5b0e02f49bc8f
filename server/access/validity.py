"""Validity of a connection that was let in: until its token expires, or its login is ended. Pure."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_ENDED = 10_000  # logins that are remembered to have ended; the oldest is forgotten first
EXPIRED = "the token has expired"
LOGGED_OUT = "logged out"
CLOSE_CODE = 4401  # of a WebSocket: 4000 and the HTTP status


class EndedLogins:
    """Of those who have logged out, by their ids."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, login: str | None) -> bool:
        return login in self._ids

    def add(self, login: str) -> None:
        self._ids[login] = None
        while len(self._ids) > MAX_ENDED:
            self._ids.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Over:
    """Why a connection may not go on."""

    reason: str
    may_return: bool  # its session is kept, for whoever comes back with another token


@dataclass(frozen=True, slots=True)
class Validity:
    """Asked now and then while a connection lasts. `expires_at`: by the loop's clock; None for never."""

    expires_at: float | None = None
    login: str | None = None
    ended: EndedLogins | None = None

    def over(self, now: float) -> Over | None:
        """Why it is over at this time of the loop's clock; None while it is not."""
        if self.ended is not None and self.login in self.ended:
            return Over(LOGGED_OUT, may_return=False)
        if self.expires_at is not None and now >= self.expires_at:
            return Over(EXPIRED, may_return=True)
        return None


ALWAYS = Validity()
