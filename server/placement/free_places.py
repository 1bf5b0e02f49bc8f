"""Index of workers with free places by model, by how free they are and by prompts that they know. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

Policy = Literal["spread", "pack"]
Rank = tuple[int, ...]  # the lowest is chosen first


@dataclass(slots=True)
class _Equals:
    """Workers of one model and one rank; of each set the one that has been there longest is first."""

    # Ordered ones: the first key of a plain dict takes longer to find the more were deleted before it.
    workers: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    by_prompt: dict[str, OrderedDict[str, None]] = field(default_factory=dict[str, OrderedDict[str, None]])

    def first(self, prompt: str | None) -> str:
        """That knows the prompt, if one does."""
        return next(iter(self.by_prompt.get(prompt or "") or self.workers))


@dataclass(frozen=True, slots=True)
class _Entry:
    model: str
    rank: Rank
    free: int
    prompts: Collection[str]


class FreePlaces:
    """How many places are free, and the worker whose place is given out next.

    free = FreePlaces("spread")
    free.put("w1", "embedded", 2, 0, ("a1b2",))
    free.best(["embedded"], "a1b2")  # "w1"
    free.take_out("w1")              # before any change of it; then put it anew

    What this takes grows with the ranks that occur, as many as a worker has places, not with the workers.
    `spread` chooses who has most free places, `pack` who has fewest; both spare kept sessions where they can.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy: Policy = policy
        self._entries: dict[str, _Entry] = {}
        self._ranks: dict[str, dict[Rank, _Equals]] = {}  # by model
        self._totals: Counter[str] = Counter()

    @property
    def totals(self) -> Mapping[str, int]:
        """Free places by model; models without any are not in it."""
        return self._totals

    def put(self, worker: str, model: str, free: int, num_kept: int, prompts: Collection[str]) -> None:
        """A worker that is not in it. `num_kept`: its sessions that would give way for those who come."""
        if free <= 0:
            return
        rank = self._rank(free, free - num_kept)
        self._entries[worker] = _Entry(model, rank, free, prompts)
        self._totals[model] += free
        equals = self._ranks.setdefault(model, {}).setdefault(rank, _Equals())
        equals.workers[worker] = None
        for prompt in prompts:
            equals.by_prompt.setdefault(prompt, OrderedDict())[worker] = None

    def take_out(self, worker: str) -> None:
        """Nothing if it is not in it."""
        if (entry := self._entries.pop(worker, None)) is None:
            return
        self._totals[entry.model] -= entry.free
        ranks = self._ranks[entry.model]
        equals = ranks[entry.rank]
        del equals.workers[worker]
        for prompt in entry.prompts:
            knowing = equals.by_prompt[prompt]
            del knowing[worker]
            if not knowing:
                del equals.by_prompt[prompt]
        if not equals.workers:
            del ranks[entry.rank]
        if not ranks:
            del self._ranks[entry.model], self._totals[entry.model]

    def best(self, models: Collection[str], prompt: str | None) -> str | None:
        """The worker whose place goes next; None where none of these models has one."""
        found = [
            (rank, equals)
            for model in models
            if (ranks := self._ranks.get(model)) is not None
            for rank, equals in ranks.items()
        ]
        return min(found, key=lambda item: item[0])[1].first(prompt) if found else None

    def _rank(self, free: int, open: int) -> Rank:
        """`open`: free places for which no kept session would have to go."""
        if self._policy == "spread":
            return (-open, -free)
        return (open <= 0, abs(open), free)
