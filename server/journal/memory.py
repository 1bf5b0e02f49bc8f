"""Journal in the memory of the process that keeps it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from server.journal.port import PutAnswer
from server.journal.record import SESSION_ID, Record, RecordRejected

MAX_JOURNAL_BYTES = 2 << 30  # 500 sessions at 832x480
MAX_AGE_S = 600.0  # that a session may wait for its client to come back


@dataclass(frozen=True, slots=True)
class _Kept:
    record: Record  # whole
    since: float


@dataclass(frozen=True, slots=True)
class Found:
    """A record as one of several journals has it. `age_s`: since it was put."""

    moves: int
    age_s: float
    record: bytes


class MemoryJournal:
    """See server/journal/port.py. One record a session; the one that was put longest ago gives way to others,
    and is forgotten when nothing has come of its session for `max_age` seconds."""

    def __init__(
        self,
        *,
        max_bytes: int = MAX_JOURNAL_BYTES,
        max_age: float = MAX_AGE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now = now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # oldest first
        self.num_bytes = 0
        self.dropped = 0  # records that gave way for want of room

    def __len__(self) -> int:
        return len(self._kept)

    async def put(self, session: str, record: bytes) -> PutAnswer:
        _check(session)
        new, before = Record.decode(record), self._get(session)
        if before is not None and new.moves < before.moves:
            return PutAnswer(is_stale=True)
        whole = new.after(before)
        if whole.missing:
            return PutAnswer(missing=whole.missing)
        if whole.num_bytes > self._max_bytes:
            raise RecordRejected(f"record: expected at most {self._max_bytes} bytes, got {whole.num_bytes}")
        self._drop(session)
        self._kept[session] = _Kept(whole, self._now())
        self.num_bytes += whole.num_bytes
        while self.num_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))
            self.dropped += 1
        return PutAnswer()

    async def get(self, session: str) -> bytes | None:
        found = await self.found(session)
        return None if found is None else found.record

    async def found(self, session: str) -> Found | None:
        """As `get`, for who asks several journals."""
        _check(session)
        record = self._get(session)
        if record is None:
            return None
        return Found(record.moves, self._now() - self._kept[session].since, record.encode())

    async def forget(self, session: str, moves: int) -> None:
        _check(session)
        record = self._get(session)
        if record is not None and record.moves <= moves:
            self._drop(session)

    def _get(self, session: str) -> Record | None:
        """What is kept of a session, once all that is too old has gone."""
        oldest = self._now() - self._max_age
        while self._kept and next(iter(self._kept.values())).since < oldest:
            self._drop(next(iter(self._kept)))
        kept = self._kept.get(session)
        return None if kept is None else kept.record

    def _drop(self, session: str) -> None:
        if (kept := self._kept.pop(session, None)) is not None:
            self.num_bytes -= kept.record.num_bytes


def _check(session: str) -> None:
    if not SESSION_ID.fullmatch(session):
        raise RecordRejected(f"session: expected an id of letters, digits, - and _, got {session[:80]!r}")
