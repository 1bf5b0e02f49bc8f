"""Recording of what a session shows: an MP4 file, written by a thread of its own.

The event loop offers pictures and never waits; the thread converts, codes and writes them.
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from av import VideoFrame
from av.error import FFmpegError

from server.media.frames import Rgb, beside
from server.media.movie_file import SOUND_RATE_HZ, MovieFile, Samples, playing_seconds
from server.media.pacing import CLOCK_RATE_HZ
from server.protocol.replies import RecordingChanged
from streaming.api import DEFAULT_FIT, CameraFit

logger = logging.getLogger(__name__)

WAITING_BLOCKS = 150  # of sound, 3 s: a picture that takes so long to write is the next one's problem
SOUND_PATIENCE_S = 1.0  # what has not come by then after its time is silence
WAITING_PICTURES = 12  # half a second at 24 fps; with the largest cameras 80 MB
NEWS_PERIOD_S = 1.0
UNFINISHED = ".part"  # after the name of a file that is being written
CLOCK_SLACK_S = 0.25  # by how much media and wall clock may differ before the recording follows the latter

OnChange = Callable[[RecordingChanged], None]


class RecordingClock:
    """Times of one recording, out of media clocks that follow one another. Pure.

    Within one media clock the spacing of its pictures is kept, which is smoother than their hand-over. A
    clock that starts again (the peer came back) or leaves the wall clock's pace is tied to the wall clock
    anew, so that a second of the recording is a second of the performance, pauses included.
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._offset = 0
        self._last = -1

    def place(self, pts: int, now: float) -> int:
        """Where a picture with media time `pts`, shown at `now` s, belongs, in 1/90000 s; always rises."""
        if self._began is None:
            self._began, self._offset = now, -pts
        wall = round((now - self._began) * CLOCK_RATE_HZ)
        if abs(pts + self._offset - wall) > CLOCK_SLACK_S * CLOCK_RATE_HZ:
            self._offset = wall - pts
        self._last = max(self._last + 1, pts + self._offset)
        return self._last

    def seconds(self, time: float) -> float | None:
        """Where `time` s lies, in seconds since the first picture; None before there is one."""
        return None if self._began is None else time - self._began

    def end(self, now: float) -> int | None:
        """When the last picture, still on show at `now`, comes once more; None if it has been just now."""
        if self._began is None:
            return None
        wall = round((now - self._began) * CLOCK_RATE_HZ)
        return wall if wall - self._last > CLOCK_SLACK_S * CLOCK_RATE_HZ else None


@dataclass(frozen=True, slots=True)
class _Shot:
    rgb: Rgb
    pts: int
    camera: VideoFrame | None
    fit: CameraFit = DEFAULT_FIT


class Recording:
    """One file being written. Made by `RecordingStore.start`; everything but `_run` is the event loop's."""

    def __init__(
        self,
        session: str,
        name: str,
        path: Path,
        side_by_side: bool,
        max_seconds: float,
        on_change: OnChange,
        with_sound: bool = False,
    ) -> None:
        self.session = session
        self.name = name
        self.path = path
        self._unfinished = path.with_name(path.name + UNFINISHED)
        self.seconds = 0.0
        self.bytes = 0
        self.dropped = 0  # pictures: the disk or the coder could not keep up
        self.has_ended = False
        self._side_by_side = side_by_side
        self._max_ticks = round(max_seconds * CLOCK_RATE_HZ)
        self._on_change = on_change
        self._clock = RecordingClock()
        # Blocks with their first sample's place; the thread takes them with the pictures.
        self._heard: deque[tuple[int, Samples]] | None = deque(maxlen=WAITING_BLOCKS) if with_sound else None
        self._shots: queue.Queue[_Shot | None] = queue.Queue(WAITING_PICTURES)  # None wakes it
        self._is_over = threading.Event()  # no more pictures are offered
        self._end: int | None = None  # where the last picture ends; set before _is_over
        self._reason = ""
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"recording {name}", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether no more pictures are taken; the file may still be being finished."""
        return self._is_over.is_set()

    @property
    def waiting(self) -> int:
        """Pictures that the thread has not taken yet."""
        return self._shots.qsize()

    def offer(
        self, rgb: Rgb, pts: int, now: float, camera: VideoFrame | None, fit: CameraFit = DEFAULT_FIT
    ) -> None:
        """A picture is shown: (H, W, 3) uint8, not to be written to later; `pts` in 1/90000 s, `now` in s.
        The camera goes beside it as `fit` says, if it does.

        Never waits: when the thread is behind, the picture is dropped and counted, and the one before it is
        shown for longer. Ignored once the recording is over.
        """
        if self.is_over:
            return
        place = self._clock.place(pts, now)
        if place >= self._max_ticks:
            self.stop(now, f"reached the limit of {self._max_ticks / CLOCK_RATE_HZ / 60:g} minutes")
            return
        try:
            self._shots.put_nowait(_Shot(rgb, place, camera if self._side_by_side else None, fit))
        except queue.Full:
            self.dropped += 1

    def hear(self, samples: Samples, time: float) -> None:
        """Sound goes out at `time` s: (T, 2) int16 at 48 kHz, not to be written to later. What comes before
        the first picture is left out, and so is the oldest of what the thread is behind with: silence."""
        if self._heard is None or self.is_over or (place := self._clock.seconds(time)) is None:
            return
        self._heard.append((round(place * SOUND_RATE_HZ), samples))

    def stop(self, now: float, reason: str = "") -> None:
        """Take no more pictures and finish the file; `on_change` follows. Safe to call twice."""
        if not self.is_over:
            self._reason = reason
            end = self._clock.end(now)
            self._end = None if end is None else min(end, self._max_ticks)
            self._is_over.set()
            with suppress(queue.Full):  # the thread does not wait then, and looks after each picture
                self._shots.put_nowait(None)

    async def ended(self) -> None:
        """Returns once the file is finished, or has failed."""
        await self._done.wait()

    def news(self, state: str | None = None) -> RecordingChanged:
        """How it stands; `state` if it is more than just recording."""
        detail = self._reason
        if self.dropped:
            detail = f"{detail}; {self.dropped} pictures were dropped".removeprefix("; ")
        return RecordingChanged.model_validate(
            {
                "state": state or "recording",
                "name": self.name,
                "seconds": round(self.seconds, 2),
                "bytes": self.bytes,
                "detail": detail,
            }
        )

    def _progress(self, seconds: float, bytes: int) -> None:
        self.seconds, self.bytes = seconds, bytes
        if not self.is_over:
            self._on_change(self.news())

    def _finished(self, seconds: float, bytes: int, error: str | None) -> None:
        self.seconds, self.bytes, self.has_ended = seconds, bytes, True
        if error is not None:
            self._is_over.set()
            self._reason = error
        self._done.set()
        self._on_change(self.news("stopped" if error is None else "failed"))

    # In the thread.

    def _run(self) -> None:
        """Write until it is over. Whatever goes wrong is told; the stream never notices."""
        error: str | None = None
        seconds = 0.0
        try:
            seconds = self._write()
        except (FFmpegError, OSError, ValueError, MemoryError) as problem:
            logger.exception("Recording %s failed", self.name)
            # Not its own text, which may name a path of the server.
            reason = getattr(problem, "strerror", None) or "internal error"
            error = f"the recording could not be written: {reason}"
            seconds = playing_seconds(self._unfinished)
        bytes = 0
        try:
            bytes = self._keep() if seconds or error is None else self._discard()
        except OSError as problem:
            logger.exception("Recording %s cannot be kept", self.name)
            error = error or f"the recording could not be kept: {problem.strerror}"
        if error is None and not bytes:
            error = "there was not one picture to record"
        with suppress(RuntimeError):  # the loop is closed: the server has ended without waiting for us
            self._loop.call_soon_threadsafe(self._finished, seconds, bytes, error)

    def _keep(self) -> int:
        """Give the file its name; returns its size, 0 if there is none."""
        if not self._unfinished.exists():
            return 0
        self._unfinished.replace(self.path)
        return self.path.stat().st_size

    def _discard(self) -> int:
        with suppress(OSError):  # it cannot be written to: it may be impossible to remove, too
            self._unfinished.unlink(missing_ok=True)
        return 0

    def _write(self) -> float:
        """Pictures to the file until it is over; returns how many seconds it has."""
        file: MovieFile | None = None
        last: _Shot | None = None
        told = 0
        try:
            while (shot := self._next_shot()) is not None:
                picture = beside(shot.camera, shot.rgb, shot.fit) if self._side_by_side else shot.rgb
                if file is None:
                    size = picture.shape[1], picture.shape[0]
                    file = MovieFile(self._unfinished, size, with_sound=self._heard is not None)
                file.write(picture, shot.pts)
                self._write_heard(file, shot.pts / CLOCK_RATE_HZ)
                last = _Shot(picture, shot.pts, None)
                if shot.pts - told >= NEWS_PERIOD_S * CLOCK_RATE_HZ:
                    told = shot.pts
                    self._post_progress(shot.pts / CLOCK_RATE_HZ, file.bytes)
            if file is not None and last is not None and self._end is not None and self._end > last.pts:
                file.write(last.rgb, self._end)
                last = _Shot(last.rgb, self._end, None)
            if file is not None and last is not None:
                self._write_heard(file, last.pts / CLOCK_RATE_HZ)
        finally:
            if file is not None:
                file.close()
        return last.pts / CLOCK_RATE_HZ if last else 0.0

    def _write_heard(self, file: MovieFile, seconds: float) -> None:
        """What has been heard by now; what has not come for long is silence, for the file to go on."""
        if self._heard is None:
            return
        while self._heard:
            file.write_sound(*self._heard.popleft())
        file.silence_until(round((seconds - SOUND_PATIENCE_S) * SOUND_RATE_HZ))

    def _next_shot(self) -> _Shot | None:
        """The next picture, waiting for it; None when it is over and all have been taken."""
        while not (self._is_over.is_set() and self._shots.empty()):
            if (shot := self._shots.get()) is not None:
                return shot
        return None

    def _post_progress(self, seconds: float, bytes: int) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._progress, seconds, bytes)
