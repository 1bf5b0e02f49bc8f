"""Queue of clients that wait for a place, first come, first served. Pure: the caller tells the time."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

PRESENT_S = 10.0  # who has not asked for so long is passed over
FORGOTTEN_S = 75.0  # and after this has lost the place: browsers let a hidden page ask once a minute
MAX_WAITING = 100
MAX_WAITING_OF_ONE = 20  # tickets of one network
UNUSED_S = 60.0  # for so long others come before who had a place and showed nothing
MAX_UNUSED = 1000  # networks of which that is remembered
TICKET = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Where somebody who asks stands. Without a ticket nobody stands in line: `position` is None then."""

    may_enter: bool
    position: int | None
    waiting: int  # how many are in line, who asks included if that one is


@dataclass(frozen=True, slots=True)
class _Asked:
    at: float
    network: str
    since: float  # when it was first asked with


class AdmissionQueue:
    """First come, first served, for those who ask with a ticket of their own making, again and again.

    queue = AdmissionQueue()
    status = queue.ask(ticket, free, now)  # joins the end of the line, or keeps the place in it
    queue.leave(ticket)                    # came in, or gave up

    Among networks that hold as many places the first to come is first; else who holds fewer.
    A ticket that is not renewed is passed over after PRESENT_S and expires after FORGOTTEN_S. Whoever asks
    without one comes in only while nobody waits.
    """

    def __init__(self, holds: Callable[[str], int] = lambda network: 0) -> None:
        """`holds` says how many places a network has."""
        self._holds = holds
        self._asked: dict[str, _Asked] = {}  # by ticket, the first to come first
        self._unused: dict[str, float] = {}  # by network: when it gave back a place that it never used

    def ask(self, ticket: str | None, free: int, now: float, network: str = "") -> QueueStatus:
        """Where `ticket` stands while `free` places are free; with None, whether anybody else may come in."""
        self._asked = {held: asked for held, asked in self._asked.items() if now - asked.at <= FORGOTTEN_S}
        self._unused = {held: at for held, at in self._unused.items() if now - at <= UNUSED_S}
        if ticket is not None and (ticket in self._asked or self._has_room(network)):
            # One that is known keeps its place in the order, and belongs to whoever brought it.
            known = self._asked.get(ticket)
            self._asked[ticket] = _Asked(now, network, now) if known is None else replace(known, at=now)
        present = self._in_line(now)
        if ticket is None or ticket not in self._asked:
            return QueueStatus(may_enter=len(present) < free, position=None, waiting=len(present))
        position = present.index(ticket) + 1
        return QueueStatus(may_enter=position <= free, position=position, waiting=len(present))

    def gave_back_unused(self, network: str, now: float) -> None:
        """Somebody of this network had a place and never showed a picture: others come before it now."""
        self._unused.pop(network, None)
        self._unused[network] = now
        if len(self._unused) > MAX_UNUSED:
            del self._unused[next(iter(self._unused))]

    def _has_room(self, network: str) -> bool:
        mine = sum(asked.network == network for asked in self._asked.values())
        return len(self._asked) < MAX_WAITING and mine < MAX_WAITING_OF_ONE

    def _in_line(self, now: float) -> list[str]:
        """Tickets of those who are present. Of one network the first to come is first. Between networks
        first comes who has fewer places and tickets before this one, so that nobody can fill the line."""
        ranks: Counter[str] = Counter()
        order: list[tuple[bool, int, str]] = []
        for ticket, asked in self._asked.items():
            if now - asked.at <= PRESENT_S:
                rank = self._holds(asked.network) + ranks[asked.network]
                order.append((asked.network in self._unused, rank, ticket))
                ranks[asked.network] += 1
        return [ticket for *_, ticket in sorted(order, key=lambda entry: entry[:2])]

    def waited(self, ticket: str | None, now: float) -> float | None:
        """Seconds that this ticket has been in line; None for one that is not."""
        asked = self._asked.get(ticket or "")
        return None if asked is None else now - asked.since

    def num_present(self, now: float) -> int:
        """How many are in line and have asked of late."""
        return len(self._in_line(now))

    def leave(self, ticket: str | None) -> bool:
        """It waits no more; False for one that did not wait."""
        return ticket is not None and self._asked.pop(ticket, None) is not None


def is_ticket(text: str) -> bool:
    """Whether this can be a ticket: 16 to 64 letters, digits, - and _, too many to be guessed."""
    return TICKET.fullmatch(text) is not None
