"""Store of all recordings of the server: their folder, their limits, finding them again."""

import asyncio
import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.media.folder_lock import FolderLock, is_left_behind
from server.media.movie_file import playing_seconds
from server.media.recording import UNFINISHED, OnChange, Recording
from server.protocol.replies import RecordingChanged
from server.settings import Settings
from server.steady_clock import steady_clock

logger = logging.getLogger(__name__)

MAX_FILES_OF_SESSION = 20
MAX_FILES = 1000
FETCH_S = 600.0  # so long a recording is safe from those of other sessions
FREE_BYTES = 256 << 20  # left to others on the disk
JOIN_TIMEOUT_S = 3.0
SWEEP_PERIOD_S = 60.0
TEMPORARY = "depthlive-recordings-"
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
OWNER = "owner"  # a file beside a session's recordings
MARK = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"depthlive-[0-9-]+\.mp4")


class RecordingRefused(Exception):
    """No recording can begin now; the text says why."""


class RecordingsUnusable(Exception):
    """The folder of the settings cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A finished recording."""

    session: str
    name: str
    path: Path
    bytes: int
    finished_at: float  # seconds since 1970


class RecordingStore:
    """All recordings of the server, within its limits. On the event loop.

        recordings = RecordingStore(settings)
        await recordings.open()
        recording = recordings.start(session_id, side_by_side=False, on_change=tell)
        recording.offer(rgb, pts, now, camera)       # each picture that is shown
        recording.stop(now)
        await recordings.find(session_id, recording.name)  # its path, once it is finished
        await recordings.close()

    `on_change` is told at the start, once a second and at the end. A session's own files stay within its
    share: its oldest gives way, and a running one is stopped when none is left. All together stay within
    theirs: there the oldest of whoever had FETCH_S to fetch it gives way. Each goes after `recording_hours`.

    In `recordings_dir` they outlive the server, under their session's id, with its owner's mark beside them;
    else they go with it.
    """

    def __init__(
        self,
        settings: Settings,
        mark: Callable[[str], str | None] = lambda session: None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        """`mark` gives that of a session's owner; `wall` seconds since 1970, and never jumps."""
        self._mark_of = mark
        self._settings = settings
        self._max_seconds = settings.max_recording_minutes * 60
        self._max_bytes = settings.max_recordings_mb << 20
        self._max_bytes_of_session = settings.max_session_recordings_mb << 20
        self._wall = wall or steady_clock()  # or, when the clock is set, all would be too old
        self._running: list[Recording] = []  # those that have not ended
        self._kept: list[_Kept] = []  # oldest first
        self._marks: dict[str, str] = {}  # of owners, by session
        self._folder: Path | None = None
        self._lock: FolderLock | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._number = 0
        self._is_closed = False

    async def open(self) -> None:
        """Find again what an earlier process left. Raises RecordingsUnusable."""
        folder = self._settings.recordings_dir
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = FolderLock(folder)
                self._kept, self._marks = await asyncio.to_thread(_scan, folder)
            except BlockingIOError:
                raise RecordingsUnusable(f"recordings_dir: {folder} is in use by another server") from None
            except OSError as error:
                raise RecordingsUnusable(f"recordings_dir: {folder}: {error.strerror}") from error
            self._folder = folder
        self._sweeper = asyncio.create_task(self._sweep())

    def start(
        self, session: str, *, side_by_side: bool, on_change: OnChange, with_sound: bool = False
    ) -> Recording:
        """Begin to record for a session, `with_sound` if there is any. Raises RecordingRefused."""
        if self._is_closed:
            raise RecordingRefused("the server is shutting down")
        if (mine := self._running_of(session)) is not None:
            over = "still being finished" if mine.is_over else "running"
            raise RecordingRefused(f"a recording of this session is {over}: expected none")
        try:
            folder = self._folder_path()
            if not self._make_room(session) or shutil.disk_usage(folder).free < FREE_BYTES:
                raise RecordingRefused("there is no room for recordings on the server now")
            (folder / session).mkdir(mode=0o700, exist_ok=True)
            if (mark := self._mark_of(session)) is not None:
                (folder / session / OWNER).write_text(mark)
                self._marks[session] = mark
        except OSError as error:
            logger.exception("No recording can begin")
            raise RecordingRefused(f"the server cannot write recordings: {error.strerror}") from error
        self._number += 1
        name = f"depthlive-{datetime.now():%Y%m%d-%H%M%S}-{self._number}.mp4"

        def tell(news: RecordingChanged) -> None:
            if recording.has_ended:
                self._ended(recording)
            else:
                self._check_room(recording)
            on_change(news)

        path = folder / session / name
        recording = Recording(session, name, path, side_by_side, self._max_seconds, tell, with_sound)
        self._running.append(recording)
        on_change(recording.news())
        return recording

    def mark(self, session: str) -> str | None:
        """Of the owner of a session with recordings, this process's or a former one's."""
        return self._marks.get(session)

    @property
    def num_bytes(self) -> int:
        """Of all that are finished."""
        return sum(one.bytes for one in self._kept)

    async def find(self, session: str, name: str) -> Path | None:
        """The file of a recording that is over, also of a session that has ended, once it is finished.

        None when there is none, or it still runs.
        """
        running = self._running_of(session)
        if running is not None and running.name == name and running.is_over:
            await running.ended()  # soon: it takes no more pictures
        self._expire()
        for kept in self._kept:
            if (kept.session, kept.name) == (session, name):
                return kept.path if kept.path.exists() else None
        return None

    async def close(self) -> None:
        """Stop all recordings; delete every file unless they have a folder of their own."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        now = asyncio.get_running_loop().time()
        for recording in self._running:
            recording.stop(now, "the server is shutting down")
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                for recording in list(self._running):
                    await recording.ended()
        except TimeoutError:
            logger.warning("A recording did not end within %g s; leaving it behind", JOIN_TIMEOUT_S)
        self._running.clear()
        self._kept.clear()
        if self._folder is not None and self._settings.recordings_dir is None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def _running_of(self, session: str) -> Recording | None:
        return next((recording for recording in self._running if recording.session == session), None)

    def _folder_path(self) -> Path:
        """The folder of all; a temporary one is made when it is needed, and those of killed processes go."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
            self._lock = FolderLock(self._folder)
            for other in self._folder.parent.glob(f"{TEMPORARY}*"):
                if other != self._folder and is_left_behind(other):
                    logger.info("Removes recordings that a killed server left in %s", other)
                    shutil.rmtree(other, ignore_errors=True)
        return self._folder

    def _ended(self, recording: Recording) -> None:
        """It is kept if there is anything to play, and counts for nothing else."""
        self._running.remove(recording)
        if recording.path.exists():
            self._kept.append(
                _Kept(recording.session, recording.name, recording.path, recording.bytes, self._wall())
            )
        else:
            self._tidy(recording.session, recording.path.parent)

    def _check_room(self, running: Recording) -> None:
        """Once a second of a recording: stop it if the disk has become too full for it."""
        if running.is_over:
            return
        now = asyncio.get_running_loop().time()
        try:
            free = shutil.disk_usage(running.path.parent).free
        except OSError:  # somebody has removed the folder
            return running.stop(now, "the server's folder of recordings is gone")
        if not self._make_room(running.session):
            running.stop(now, "the server's room for recordings is used up")
        elif free < FREE_BYTES:
            running.stop(now, "the server's disk is nearly full")

    def _make_room(self, session: str) -> bool:
        """Let finished files go until the limits hold; False if they cannot be made to."""
        self._expire()
        while self._is_full(MAX_FILES_OF_SESSION, self._max_bytes_of_session, session):
            if not self._drop_oldest(session):
                return False
        while self._is_full(MAX_FILES, self._max_bytes):
            before = self._wall() - FETCH_S
            if not (self._drop_oldest(before=before) or self._drop_oldest(session)):
                return False
        return True

    def _is_full(self, files: int, bytes: int, session: str | None = None) -> bool:
        """Whether so many files, or bytes, are there already; of one session or of all."""
        kept = [one.bytes for one in self._kept if session in (None, one.session)]
        running = [one.bytes for one in self._running if session in (None, one.session)]
        return len(kept) >= files or sum(kept) + sum(running) >= bytes

    def _drop_oldest(self, session: str | None = None, *, before: float | None = None) -> bool:
        """False if there is none, of this session, or finished before that."""
        for kept in self._kept:
            if session in (None, kept.session) and (before is None or kept.finished_at < before):
                self._drop(kept)
                return True
        return False

    def _drop(self, kept: _Kept) -> None:
        self._kept.remove(kept)
        with suppress(OSError):  # somebody else has tidied up
            kept.path.unlink(missing_ok=True)
        self._tidy(kept.session, kept.path.parent)

    def _tidy(self, session: str, place: Path) -> None:
        """Nothing is left of a session's folder after its last recording."""
        if self._running_of(session) is None and all(one.session != session for one in self._kept):
            self._marks.pop(session, None)
            _remove(place)

    def _expire(self) -> None:
        """Let go of what is older than it may be."""
        hours = self._settings.recording_hours
        while hours and self._drop_oldest(before=self._wall() - hours * 3600):
            pass

    async def _sweep(self) -> None:
        while True:
            self._expire()
            await asyncio.sleep(SWEEP_PERIOD_S)


def _remove(place: Path) -> None:
    """A session's folder without recordings."""
    with suppress(OSError):  # somebody else has tidied up, or keeps something here
        (place / OWNER).unlink(missing_ok=True)
        place.rmdir()


def _scan(folder: Path) -> tuple[list[_Kept], dict[str, str]]:
    """Finished recordings in a folder, oldest first, and their owners' marks by session. Raises OSError.

    What a killed process left unfinished is kept as far as it plays, else removed. Whatever has no name of
    ours is left alone."""
    found: list[_Kept] = []
    marks: dict[str, str] = {}
    for place in folder.iterdir():
        if place.is_symlink() or not place.is_dir() or not SESSION.fullmatch(place.name):
            continue
        for path in place.glob(f"*{UNFINISHED}"):
            if NAME.fullmatch(path.name.removesuffix(UNFINISHED)) and path.is_file():
                if playing_seconds(path):
                    path.replace(path.with_name(path.name.removesuffix(UNFINISHED)))
                else:
                    path.unlink()
        before = len(found)
        for path in place.glob("*.mp4"):
            if NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                about = path.stat()
                found.append(_Kept(place.name, path.name, path, about.st_size, about.st_mtime))
        owner = place / OWNER
        if owner.is_file() and not owner.is_symlink():
            if MARK.fullmatch(mark := owner.read_bytes()[:65].decode("latin-1")):
                marks[place.name] = mark
                if len(found) == before:
                    _remove(place)
    return sorted(found, key=lambda kept: kept.finished_at), marks
