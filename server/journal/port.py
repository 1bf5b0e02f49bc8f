"""Journal port: where sessions leave what another process needs to go on with them.

    answer = await journal.put(session, record)      # after each chunk, the parts that are new alone
    record = await journal.get(session)              # whole; by whoever goes on with it
    await journal.forget(session, moves)             # once it has ended for good

Records are bytes, as server/journal/record.py makes them, so that any transport will do. Whoever keeps them
should be another process, on another machine where there is one.
"""

from dataclasses import dataclass
from typing import Protocol


class JournalUnavailable(Exception):
    """The journal cannot be asked now; the text says why."""


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """What has become of a record."""

    missing: tuple[str, ...] = ()  # parts that it needs and nobody has; nothing of it is kept: put it again
    is_stale: bool = False  # the session has gone on elsewhere: nothing of it is kept, nor ever will be


class Journal(Protocol):
    """Keeps the newest record of each session."""

    async def put(self, session: str, record: bytes) -> PutAnswer:
        """Raises RecordRejected for what is no record or too large, JournalUnavailable."""
        ...

    async def get(self, session: str) -> bytes | None:
        """The newest record, whole; None: there is none, or none any more. Raises
        JournalUnavailable."""
        ...

    async def forget(self, session: str, moves: int) -> None:
        """Unless it has gone on elsewhere, `moves` times more than that. Raises JournalUnavailable."""
        ...
