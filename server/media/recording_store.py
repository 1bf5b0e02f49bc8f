"""Store of all recordings of the server: their temporary folder, their limits, finding them again."""

import asyncio
import logging
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from server.media.recording import OnChange, Recording
from server.protocol.replies import RecordingChanged
from server.settings import Settings

logger = logging.getLogger(__name__)

MAX_FILES = 100
FREE_BYTES = 256 << 20  # left to others on the disk
JOIN_TIMEOUT_S = 10.0


class RecordingRefused(Exception):
    """No recording can begin now; the text says why."""


class RecordingStore:
    """All recordings of the server, within its limits. On the event loop.

        recordings = RecordingStore(settings)
        recording = recordings.start(session_id, side_by_side=False, on_change=tell)
        recording.offer(rgb, pts, now, camera)       # each picture that is shown
        recording.stop(now)
        await recordings.find(session_id, recording.name)  # its path, once it is finished
        await recordings.close()

    `on_change` is told at the start, once a second and at the end. Together the files stay below
    `max_recordings_mb`: the oldest finished one gives way, and a running one is stopped when none is left.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_seconds = settings.max_recording_minutes * 60
        self._max_bytes = settings.max_recordings_mb << 20
        self._recordings: list[Recording] = []  # oldest first
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._number = 0
        self._is_closed = False

    def start(self, session: str, *, side_by_side: bool, on_change: OnChange) -> Recording:
        """Begin to record for a session. Raises RecordingRefused."""
        if self._is_closed:
            raise RecordingRefused("the server is shutting down")
        mine = [recording for recording in self._recordings if recording.session == session]
        if any(not recording.has_ended for recording in mine):
            over = "still being finished" if mine[-1].is_over else "running"
            raise RecordingRefused(f"a recording of this session is {over}: expected none")
        folder = self._folder_path()
        if not self._make_room() or shutil.disk_usage(folder).free < FREE_BYTES:
            raise RecordingRefused("there is no room for recordings on the server now")
        self._number += 1
        name = f"depthlive-{datetime.now():%Y%m%d-%H%M%S}-{self._number}.mp4"

        def tell(news: RecordingChanged) -> None:
            self._check_room(recording)
            on_change(news)

        recording = Recording(
            session, name, folder / f"{self._number}.mp4", side_by_side, self._max_seconds, tell
        )
        self._recordings.append(recording)
        on_change(recording.news())
        return recording

    async def find(self, session: str, name: str) -> Path | None:
        """The file of a recording that is over, also of a session that has ended, once it is finished.

        None when there is none, or it still runs.
        """
        for recording in self._recordings:
            if (recording.session, recording.name) == (session, name) and recording.is_over:
                await recording.ended()  # soon: it takes no more pictures
                return recording.path if recording.path.exists() else None
        return None

    async def close(self) -> None:
        """Stop all recordings and delete every file."""
        self._is_closed = True
        now = asyncio.get_running_loop().time()
        for recording in self._recordings:
            recording.stop(now, "the server is shutting down")
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                for recording in self._recordings:
                    await recording.ended()
        except TimeoutError:
            logger.warning("A recording did not end within %g s; leaving it behind", JOIN_TIMEOUT_S)
        self._recordings.clear()
        if self._folder is not None:
            await asyncio.to_thread(self._folder.cleanup)

    def _folder_path(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="depthlive-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def _check_room(self, running: Recording) -> None:
        """Once a second of a recording: stop it if the disk has become too full for it."""
        if running.is_over:
            return
        now = asyncio.get_running_loop().time()
        if not self._make_room():
            running.stop(now, "the server's room for recordings is used up")
        elif shutil.disk_usage(running.path.parent).free < FREE_BYTES:
            running.stop(now, "the server's disk is nearly full")

    def _make_room(self) -> bool:
        """Let the oldest finished files go until the limits hold; False if they cannot be made to."""
        while len(self._recordings) >= MAX_FILES or self._bytes() >= self._max_bytes:
            oldest = next((recording for recording in self._recordings if recording.has_ended), None)
            if oldest is None:
                return False
            self._recordings.remove(oldest)
            oldest.path.unlink(missing_ok=True)
        return True

    def _bytes(self) -> int:
        return sum(recording.bytes for recording in self._recordings)
