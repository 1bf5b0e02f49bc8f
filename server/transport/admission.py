"""Queue of clients that wait for a place, first come, first served. Pure: the caller tells the time."""

import re
from dataclasses import dataclass

PRESENT_S = 10.0  # who has not asked for so long is passed over
FORGOTTEN_S = 75.0  # and after this has lost the place: browsers let a hidden page ask once a minute
MAX_WAITING = 100
TICKET = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Where somebody who asks stands. Without a ticket nobody stands in line: `position` is None then."""

    may_enter: bool
    position: int | None
    waiting: int  # how many are in line, who asks included if that one is


class AdmissionQueue:
    """First come, first served, for those who ask with a ticket of their own making, again and again.

    queue = AdmissionQueue()
    status = queue.ask(ticket, free, now)  # joins the end of the line, or keeps the place in it
    queue.leave(ticket)                    # came in, or gave up

    A ticket that is not renewed is passed over after PRESENT_S and expires after FORGOTTEN_S. Whoever asks
    without one comes in only while nobody waits.
    """

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}  # by ticket, the first in line first: when it last asked

    def ask(self, ticket: str | None, free: int, now: float) -> QueueStatus:
        """Where `ticket` stands while `free` places are free; with None, whether anybody else may come in."""
        self._asked = {held: at for held, at in self._asked.items() if now - at <= FORGOTTEN_S}
        if ticket is not None and (ticket in self._asked or len(self._asked) < MAX_WAITING):
            self._asked[ticket] = now  # one that is known keeps its place in the order
        present = [held for held, at in self._asked.items() if now - at <= PRESENT_S]
        if ticket is None or ticket not in self._asked:
            return QueueStatus(may_enter=len(present) < free, position=None, waiting=len(present))
        position = present.index(ticket) + 1
        return QueueStatus(may_enter=position <= free, position=position, waiting=len(present))

    def leave(self, ticket: str | None) -> bool:
        """It waits no more; False for one that did not wait."""
        return ticket is not None and self._asked.pop(ticket, None) is not None


def is_ticket(text: str) -> bool:
    """Whether this can be a ticket: 16 to 64 letters, digits, - and _, too many to be guessed."""
    return TICKET.fullmatch(text) is not None
