"""Writer of a session's journal: the newest state wins, and one record at most is on its way.

    writer.follow(handle)          # the stream is there
    writer.changed()               # a chunk has been made, or something else is in effect
    await writer.close(forgets=True)

A chunk never waits for it: what it needs of the engine's thread is a copy of three latents between two
chunks; bytes are made of that in another thread. What changes while a record is on its way is in the next.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from logging import Logger, LoggerAdapter

from server.engine.client import EngineClient
from server.engine.errors import EngineUnavailable
from server.engine.thread import Snapshot, StreamHandle
from server.journal.port import Journal, JournalUnavailable
from server.journal.record import Record, RecordRejected
from server.media.frames import Rgb
from server.media.packed_image import pack_image
from server.session.session_record import VALUES, SessionValues, picture_part

PUT_TIMEOUT_S = 5.0  # of one record; the next one has all that this one had
CLOSE_TIMEOUT_S = 1.0  # for the last one, when the session ends

NOTHING: frozenset[str] = frozenset()
Pictures = Sequence[tuple[str, Rgb]]


class JournalWriter:
    """Writes nothing before it follows a stream, nor after it was closed or its session went on elsewhere."""

    def __init__(
        self,
        session_id: str,
        journal: Journal,
        engine: EngineClient,
        *,
        is_busy: Callable[[], bool],
        read: Callable[[], tuple[SessionValues, Pictures]],
        log: Logger | LoggerAdapter[Logger],
        moves: int = 0,
    ) -> None:
        """`read` gives what is in effect, and the uploaded pictures in it; `is_busy` says whether a chunk is
        under way: the stream then differs from what is in effect."""
        self._id = session_id
        self._journal = journal
        self._engine = engine
        self._is_busy = is_busy
        self._read = read
        self._log = log
        self._moves = moves
        self._handle: StreamHandle | None = None
        self._known: frozenset[str] = NOTHING  # parts that the journal has
        self._is_due = self._is_closed = self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def follow(self, handle: StreamHandle) -> None:
        self._handle = handle
        self.changed()

    def changed(self) -> None:
        """Write what is in effect now; with a chunk under way, once that has been made."""
        self._is_due = True
        self._go_on()

    async def close(self, *, forgets: bool) -> None:
        """Write no more. `forgets`: the session has ended for good; else it may go on elsewhere."""
        self._is_closed = True
        if (task := self._task) is not None:
            await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
            task.cancel()
        if forgets:
            with suppress(JournalUnavailable, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._journal.forget(self._id, self._moves)

    def _go_on(self) -> None:
        handle, is_idle = self._handle, self._task is None and not self._is_busy()
        if handle is None or not is_idle or not self._is_due or self._is_closed:
            return
        self._is_due = False
        # Both at once: the thread has not begun with another chunk.
        values, snapshot = self._read(), self._engine.snapshot(handle)
        self._task = asyncio.create_task(self._write(*values, snapshot))
        self._task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("The session's journal cannot be written", exc_info=error)
            self._is_closed = True
        self._go_on()

    async def _write(
        self, values: SessionValues, pictures: Pictures, snapshot: asyncio.Future[Snapshot]
    ) -> None:
        try:
            stream = await snapshot
        except EngineUnavailable:
            return  # the stream has ended
        try:
            async with asyncio.timeout(PUT_TIMEOUT_S):
                await self._put(values, pictures, stream)
        except (JournalUnavailable, RecordRejected, TimeoutError) as error:
            self._known = NOTHING
            if not self._is_failing:
                self._log.warning("Not in the journal, could not go on elsewhere: %s", error or "no answer")
            self._is_failing = True
        else:
            self._is_failing = False

    async def _put(self, values: SessionValues, pictures: Pictures, stream: Snapshot) -> None:
        needs, record = await asyncio.to_thread(self._record, values, pictures, stream)
        answer = await self._journal.put(self._id, record)
        if answer.missing:  # it has begun anew, or had to make room
            self._known = NOTHING
            needs, record = await asyncio.to_thread(self._record, values, pictures, stream)
            answer = await self._journal.put(self._id, record)
        if answer.missing:
            raise JournalUnavailable(f"it lacks {', '.join(answer.missing)[:200]} that it was given")
        if answer.is_stale:
            self._log.warning("The session has gone on elsewhere: its journal is another one's")
            self._is_closed = True
        self._known = frozenset(needs)

    def _record(
        self, values: SessionValues, pictures: Pictures, stream: Snapshot
    ) -> tuple[Sequence[str], bytes]:
        """Names of all its parts, and the record with those that are new. Called in a thread of its own."""
        named = {picture_part(id): rgb for id, rgb in pictures}
        given = {
            VALUES: values.model_dump_json().encode(),
            **{name: pack_image(rgb) for name, rgb in named.items() if name not in self._known},
            **stream.parts(without=self._known),
        }
        record = Record(self._moves, (VALUES, *named, *stream.names()), given)
        return record.needs, record.encode()
