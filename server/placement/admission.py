"""Queue of clients that wait for a place, first come, first served. Pure: the caller tells the time."""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    position: int | None  # among those who could take the same places
    waiting: int  # how many are in line, who asks included if that one is
    models: frozenset[str] = frozenset()  # of whose places it may take one


@dataclass(slots=True)
class _Asked:
    at: float
    network: str
    since: float  # when it was first asked with
    model: str | None
    priority: int


@dataclass(frozen=True, slots=True)
class _Line:
    """Who is present, in order, as long as nothing of it changes and until a time."""

    index: Mapping[str, int]  # by ticket
    models: list[str | None]  # that each asks for
    priorities: list[int]  # negative ones of each, so that they rise
    until: float


class AdmissionQueue:
    """First come, first served, for those who ask with a ticket of their own making, again and again.

    queue = AdmissionQueue()
    status = queue.ask(ticket, free, now)  # joins the end of the line, or keeps the place in it
    queue.leave(ticket)                    # came in, or gave up

    Higher priorities come first. Then, among networks that hold as many places the first to come is first;
    else who holds fewer. Whoever asks for one model is not held up by those who ask for others.
    A ticket that is not renewed is passed over after PRESENT_S and expires after FORGOTTEN_S. Whoever asks
    without one comes in only while nobody waits. The order is worked out anew only after a change of it: many
    who wait ask again all the time.
    """

    def __init__(
        self, holds: Callable[[str], int] = lambda network: 0, max_waiting: int = MAX_WAITING
    ) -> None:
        """`holds` says how many places a network has; `holds_changed` is to be called after a change."""
        self._holds = holds
        self._max_waiting = max_waiting
        self._asked: dict[str, _Asked] = {}  # by ticket, the first to come first
        self._num_of: Counter[str] = Counter()  # tickets of each network
        self._unused: dict[str, float] = {}  # by network: when it gave back a place that it never used
        self._line: _Line | None = None
        self._all_known_until = -math.inf  # no ticket expires before

    def ask(
        self,
        ticket: str | None,
        free: int | Mapping[str, int],
        now: float,
        network: str = "",
        *,
        model: str | None = None,
        priority: int = 0,
    ) -> QueueStatus:
        """Where `ticket` stands while `free` places are free, by model where there are several; with None,
        whether anybody else may come in. `now` never goes back."""
        self._forget(now)
        known = self._asked.get(ticket) if ticket is not None else None
        if ticket is not None and known is None and self._has_room(network):
            known = self._asked[ticket] = _Asked(now, network, now, model, priority)
            self._num_of[network] += 1
            self._line = None
        elif known is not None:
            # It keeps its place in the order, and belongs to whoever brought it.
            if not _is_present(known, now) or (known.model, known.priority) != (model, priority):
                self._line = None
            known.at, known.model, known.priority = now, model, priority
        line = self._in_line(now)
        if ticket is None or known is None:
            num_ahead, is_in_line = bisect_right(line.priorities, -priority), False
        else:
            num_ahead, is_in_line = line.index[ticket], True
        ahead = Counter(line.models[:num_ahead])
        models = _open_to(model, ahead, {"": free} if isinstance(free, int) else free)
        rivals = num_ahead if model is None else ahead[model] + ahead[None]
        return QueueStatus(
            may_enter=bool(models),
            position=rivals + 1 if is_in_line else None,
            waiting=len(line.index),
            models=models,
        )

    def gave_back_unused(self, network: str, now: float) -> None:
        """Somebody of this network had a place and never showed a picture: others come before it now."""
        self._unused.pop(network, None)
        self._unused[network] = now
        self._line = None
        if len(self._unused) > MAX_UNUSED:
            del self._unused[next(iter(self._unused))]

    def holds_changed(self, network: str) -> None:
        """It has more places than before, or fewer."""
        if self._line is not None and self._num_of[network]:
            self._line = None

    def waited(self, ticket: str | None, now: float) -> float | None:
        """Seconds that this ticket has been in line; None for one that is not."""
        asked = self._asked.get(ticket or "")
        return None if asked is None else now - asked.since

    def num_present(self, now: float) -> int:
        """How many are in line and have asked of late."""
        return len(self._in_line(now).index)

    def leave(self, ticket: str | None) -> bool:
        """It waits no more; False for one that did not wait."""
        asked = self._asked.pop(ticket, None) if ticket is not None else None
        if asked is None:
            return False
        self._num_of[asked.network] -= 1
        if not self._num_of[asked.network]:
            del self._num_of[asked.network]
        self._line = None
        return True

    def _forget(self, now: float) -> None:
        """Tickets whose time is over."""
        if now <= self._all_known_until:
            return
        for ticket in [ticket for ticket, asked in self._asked.items() if now - asked.at > FORGOTTEN_S]:
            self.leave(ticket)
        self._all_known_until = min((asked.at for asked in self._asked.values()), default=now) + FORGOTTEN_S

    def _has_room(self, network: str) -> bool:
        return len(self._asked) < self._max_waiting and self._num_of[network] < MAX_WAITING_OF_ONE

    def _in_line(self, now: float) -> _Line:
        """Those who are present. Of one network the first to come is first. Between networks first comes who
        has fewer places and tickets before this one, so that nobody can fill the line."""
        if self._line is not None and now <= self._line.until:
            return self._line
        self._unused = {network: at for network, at in self._unused.items() if now <= at + UNUSED_S}
        until, ranks = math.inf, Counter[str]()
        order: list[tuple[int, bool, int, str, str | None]] = []
        for ticket, asked in self._asked.items():
            if _is_present(asked, now):
                unused_at = self._unused.get(asked.network)
                rank = self._holds(asked.network) + ranks[asked.network]
                order.append((-asked.priority, unused_at is not None, rank, ticket, asked.model))
                ranks[asked.network] += 1
                until = min(until, asked.at + PRESENT_S)
                if unused_at is not None:
                    until = min(until, unused_at + UNUSED_S)
        order.sort(key=lambda entry: entry[:3])
        self._line = _Line(
            index={entry[3]: place for place, entry in enumerate(order)},
            models=[entry[4] for entry in order],
            priorities=[entry[0] for entry in order],
            until=until,
        )
        return self._line


def _is_present(asked: _Asked, now: float) -> bool:
    return now <= asked.at + PRESENT_S


def _open_to(model: str | None, ahead: Mapping[str | None, int], free: Mapping[str, int]) -> frozenset[str]:
    """Models that have a `free` place left for who asks for `model`, once all who are `ahead` have theirs.

    Those who ask for one model get theirs there; those who take any are led to where most are left over.
    """
    left = {name: max(0, places - ahead.get(name, 0)) for name, places in free.items()}
    num_anywhere = ahead.get(None, 0)
    if model is None:
        is_open = sum(left.values()) > num_anywhere
        return frozenset(name for name, places in left.items() if places) if is_open else frozenset()
    here = left.get(model, 0)
    elsewhere = sum(left.values()) - here
    return frozenset((model,)) if here > max(0, num_anywhere - elsewhere) else frozenset()


def is_ticket(text: str) -> bool:
    """Whether this can be a ticket: 16 to 64 letters, digits, - and _, too many to be guessed."""
    return TICKET.fullmatch(text) is not None
