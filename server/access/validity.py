"""Validity of a connection that was let in: until its token expires, or its login is ended. Pure."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MAX_ENDED = 1000  # logins of one name that are remembered one by one to have ended
EXPIRED = "the token has expired"
LOGGED_OUT = "logged out"
CLOSE_CODE = 4401  # of a WebSocket: 4000 and the HTTP status


class Login(NamedTuple):
    """`name`: whose. `number`: of all logins of this process, or of its cluster, in their order."""

    name: str
    number: int


@dataclass(frozen=True)
class Logouts:
    """All that a process knows of them, for the others of its cluster. `since`: logins before this number may
    have ended unknown to it. `ended`: of each name the number until which none is good, and those that are
    remembered one by one."""

    since: int
    ended: tuple[tuple[str, int, tuple[int, ...]], ...]

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.since, self.ended)).encode()).hexdigest()


class EndedLogins:
    """Of those who have logged out.

    Whoever holds a token may log in and out as often as he likes. So each name has its own, and where there
    are too many of one, its oldest stands for itself and for all of this name before it: no cookie that was
    good no more is good again.

    Processes of a cluster learn from each other. One that begins knows of no logout before: until it has
    learned from one that was there, no older login is good.
    """

    def __init__(self, since: int = 0) -> None:
        """`since`: number of the first login whose end will be known here."""
        self._since = since
        self._told: Logouts | None = None
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        self._none_until: defaultdict[str, int] = defaultdict(int)  # of a name, no cookie is good

    def __contains__(self, login: Login) -> bool:
        """Whether this one has ended, as long as it is remembered: longer than connections take to ask."""
        return login.number in self._numbers.get(login.name, ())

    def refuses(self, login: Login) -> bool:
        """Whether its cookie is good no more."""
        is_unknown = login.number < self._since
        return is_unknown or login in self or login.number <= self._none_until.get(login.name, 0)

    def told(self) -> Logouts:
        """All that is known here."""
        if self._told is None:
            names = sorted({*self._numbers, *self._none_until})
            ended = ((name, self._none_until[name], tuple(sorted(self._numbers[name]))) for name in names)
            self._told = Logouts(self._since, tuple(ended))
        return self._told

    def learn(self, told: Logouts) -> None:
        """What another process knows is known here, too."""
        self._told = None
        self._since = min(self._since, told.since)
        for name, none_until, numbers in told.ended:
            self._none_until[name] = max(none_until, self._none_until[name])
            for number in numbers:
                self.add(Login(name, number))

    def add(self, login: Login) -> None:
        self._told = None
        numbers = self._numbers[login.name]
        numbers.add(login.number)
        if len(numbers) > MAX_ENDED:
            oldest = min(numbers)
            numbers.remove(oldest)
            self._none_until[login.name] = max(oldest, self._none_until[login.name])


@dataclass(frozen=True, slots=True)
class Over:
    """Why a connection may not go on."""

    reason: str
    may_return: bool  # its session is kept, for whoever comes back with another token


@dataclass(frozen=True, slots=True)
class Validity:
    """Asked now and then while a connection lasts. `expires_at`: by the loop's clock; None for never."""

    expires_at: float | None = None
    login: Login | None = None
    ended: EndedLogins | None = None

    def over(self, now: float) -> Over | None:
        """Why it is over at this time of the loop's clock; None while it is not."""
        if self.ended is not None and self.login is not None and self.login in self.ended:
            return Over(LOGGED_OUT, may_return=False)
        if self.expires_at is not None and now >= self.expires_at:
            return Over(EXPIRED, may_return=True)
        return None


ALWAYS = Validity()
