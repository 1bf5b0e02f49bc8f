"""Index of workers with free places by model and by how free they are. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Policy = Literal["spread", "pack"]
Rank = tuple[int, ...]  # the lowest is chosen first


@dataclass(frozen=True, slots=True)
class _Entry:
    model: str
    rank: Rank
    free: int


class FreePlaces:
    """How many places are free, and the worker whose place is given out next.

    free = FreePlaces("spread")
    free.put("w1", "embedded", 2, 0)
    free.best(["embedded"])  # "w1"
    free.take_out("w1")      # before any change of it; then put it anew

    What this takes grows with the ranks that occur, as many as a worker has places, not with the workers.
    `spread` chooses who has most free places, `pack` who has fewest; both spare kept sessions where they can.
    Among equals it is the one that has been there longest.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy: Policy = policy
        self._entries: dict[str, _Entry] = {}
        # Ordered: the first key of a plain dict takes longer to find the more were deleted before it.
        self._ranks: dict[str, dict[Rank, OrderedDict[str, None]]] = {}  # by model
        self._totals: Counter[str] = Counter()

    @property
    def totals(self) -> Mapping[str, int]:
        """Free places by model; models without any are not in it."""
        return self._totals

    def put(self, worker: str, model: str, free: int, num_kept: int) -> None:
        """A worker that is not in it. `num_kept`: its sessions that would give way for those who come."""
        if free <= 0:
            return
        rank = self._rank(free, free - num_kept)
        self._entries[worker] = _Entry(model, rank, free)
        self._totals[model] += free
        self._ranks.setdefault(model, {}).setdefault(rank, OrderedDict())[worker] = None

    def take_out(self, worker: str) -> None:
        """Nothing if it is not in it."""
        if (entry := self._entries.pop(worker, None)) is None:
            return
        self._totals[entry.model] -= entry.free
        ranks = self._ranks[entry.model]
        equals = ranks[entry.rank]
        del equals[worker]
        if not equals:
            del ranks[entry.rank]
        if not ranks:
            del self._ranks[entry.model], self._totals[entry.model]

    def best(self, models: Collection[str]) -> str | None:
        """The worker whose place goes next; None where none of these models has one."""
        found = [
            (rank, equals)
            for model in models
            if (ranks := self._ranks.get(model)) is not None
            for rank, equals in ranks.items()
        ]
        return next(iter(min(found, key=lambda item: item[0])[1])) if found else None

    def _rank(self, free: int, open: int) -> Rank:
        """`open`: free places for which no kept session would have to go."""
        if self._policy == "spread":
            return (-open, -free)
        return (open <= 0, abs(open), free)
