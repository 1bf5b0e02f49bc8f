"""Device thread: it loads the model and does one job after the other. It alone knows streaming.engine.

The event loop hands it jobs and is told what has come of them by what is posted there; it waits for nothing
but jobs.
"""

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from server.engine.chunk_job import ChunkJob, Frame, ToRgb
from server.engine.errors import EngineUnavailable, InputRejected, StreamWasReset
from server.engine.watchdog import Watchdog
from server.environment import misread
from server.media.frames import Rgb, stamp_source
from server.progress_bar import progress_bar
from server.settings import Settings
from streaming.api import ChunkParameters, ChunkResult, EngineInfo, GenerationFailed, WeightedPrompts

if TYPE_CHECKING:
    from streaming.engine import StreamEngine
    from streaming.hub.pull import Progress
    from streaming.snapshot import StreamSnapshot
    from streaming.stream import LiveStream, SeenFrame

logger = logging.getLogger(__name__)
R = TypeVar("R")

PROGRESS_LOG_PERIOD_S = 5.0
SWITCH_INTERVAL_S = 1e-4  # a shorter one gains nothing more
IDLE_LOOK_S = 5.0  # so often the device is looked at where nobody needs it
PACES_KEPT = 15  # chunks: a prompt switch now and then is not the pace


class Snapshot(Protocol):
    """A stream's memory between two chunks, as bytes by name; for any thread."""

    def names(self) -> tuple[str, ...]: ...
    def parts(self, without: Collection[str] = ()) -> dict[str, bytes]: ...


class StreamHandle:
    """One stream, as the event loop carries it, from before it is opened: whoever asks for a stream can close
    it at any time. What is in `stream` is the thread's alone."""

    def __init__(self) -> None:
        self.stream: LiveStream | None = None  # until it is opened, and once closed
        self.frames_wanted = 0  # by its first chunk; later ones' come with each result
        self.snapshot: StreamSnapshot | None = None  # the newest that was taken
        self.seen: dict[Frame, SeenFrame] = {}  # of its next chunk, one chunk's frames at most


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """Work for the thread, and where the event loop waits for what comes of it."""

    work: Callable[[], R]
    future: asyncio.Future[R]


class Listener(Protocol):
    """What the thread tells, on the event loop."""

    def on_loading(self, words: str) -> None: ...
    def on_warming(self) -> None: ...
    def on_ready(self, info: EngineInfo, pace: float) -> None: ...
    def on_failed(self, reason: str) -> None: ...
    def on_lost(self, reason: str) -> None: ...
    def on_silent(self) -> None: ...
    def on_pace(self, pace: float) -> None: ...
    def on_memory(self, taken: int) -> None: ...


def import_engine() -> "type[StreamEngine]":
    """Called in the device thread: importing torch takes seconds, and the page is served meanwhile."""
    # OpenMP reads these when torch is loaded. The codecs need a core of their own, and threads that spin
    # while they wait would take it from them.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A chunk is a thousand small operations, and after each the thread asks for the interpreter again. A loop
    # that is busy gives it up after this time only: with Python's 5 ms a chunk takes half as long again.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    from streaming.engine import StreamEngine

    return StreamEngine


@contextlib.contextmanager
def gc_frozen() -> Generator[bool]:
    """For what makes millions of objects that stay: libraries, networks, compiled code.

    Python's garbage collector looks through them again and again meanwhile, a quarter of the time that
    imports take, and ever after: 0.2 s, in which all threads stand still; and more than a second when the
    process ends. So it pauses, and then leaves them out. It is also told that none of them is left: it puts
    off looking through everything until there is a quarter more than the last time, and what many short
    visits leave would be 0.1 s of work by then. Yields whether it will leave them out: not where others have
    frozen objects before, since one thaws all or nothing.
    """
    freezes = gc.get_freeze_count() == 0
    gc.disable()
    try:
        yield freezes
    finally:
        if freezes:
            gc.collect()
            gc.freeze()
            gc.collect()
            atexit.register(gc.freeze)  # whether thawed or not: what is left then goes with the process
        gc.enable()


class EngineThread:
    """Owns the model, the device and all streams. What stands under `On the event loop` is for the loop;
    everything else runs in the thread: to load the model, as the work of a job, or between two jobs."""

    def __init__(
        self, settings: Settings, import_engine: "Callable[[], type[StreamEngine]]", listener: Listener
    ) -> None:
        self._settings = settings
        self._import_engine = import_engine
        self._listener = listener
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._unanswered: deque[Job[Any]] = deque()  # the loop's: that of now, and those in the queue
        self._is_lost = False  # the device
        self._watchdog = Watchdog(settings.engine_timeout, listener.on_silent)
        # A daemon, so that a hanging download cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._told_progress = float("-inf")
        # Pictures a second, in the warm-up and chunk by chunk; pictures of the job at hand.
        self._warm_pace = 0.0
        self._paces: deque[float] = deque(maxlen=PACES_KEPT)
        self._made = 0
        self._ahead_s = 0.0  # spent on chunks to come, since the last one
        self._prepares = True  # until that fails
        self._froze = False

    # On the event loop.

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to load the model, then to do jobs. Call it once."""
        self._loop = loop
        self._thread.start()

    def put(self, job: Job[Any] | None) -> None:
        """After the jobs before it; None ends the thread."""
        if job is not None:
            self._unanswered.append(job)
            self._watchdog.expect()
        self._jobs.put(job)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def silent_seconds(self) -> float:
        """For so long it owes an answer and has told nothing."""
        return self._watchdog.silence()

    @property
    def patience(self) -> float:
        """Seconds of such silence after which it is given up."""
        return self._watchdog.patience

    def stack(self) -> str:
        """Where it is: what a hang leaves for the log."""
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] -- documented, for such use
        frame = frames.get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else "it has ended"

    def join(self, timeout: float) -> None:
        """Blocks until it has ended, or for so many seconds."""
        self._thread.join(timeout)

    def give_up(self) -> list[Job[Any]]:
        """Expect nothing more of it, whether it has ended or hangs; returns the jobs without an answer. It
        does none of them later, but for that of now."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        self._jobs.put(None)
        self._watchdog.stop()
        jobs = list(self._unanswered)
        self._unanswered.clear()
        return jobs

    def _hear(self, function: Callable[..., None], args: tuple[object, ...]) -> None:
        self._watchdog.heard()
        function(*args)

    def _answer(self, job: Job[Any], result: object, error: Exception | None) -> None:
        if self._unanswered and self._unanswered[0] is job:  # else it was given up
            self._unanswered.popleft()
            self._watchdog.answered()
        if error is None:
            resolve(job.future, result)
        else:
            fail(job.future, error)

    # The work of jobs.

    def open(self, handle: StreamHandle, *, prompt: str, seed: int) -> None:
        """A new stream. Raises InputRejected, or EngineUnavailable where there is no memory for it."""
        self._begin(handle, partial(self._engine.open, prompt=prompt, seed=seed))

    def restore(self, handle: StreamHandle, *, parts: Mapping[str, bytes]) -> None:
        """A stream that goes on where a snapshot was taken. Raises as `open`."""
        self._begin(handle, partial(self._engine.restore, parts))

    def _begin(self, handle: StreamHandle, make: "Callable[[], LiveStream]") -> None:
        try:
            stream = make()
        except ValueError as error:
            raise InputRejected(str(error)) from error
        except GenerationFailed as error:
            raise EngineUnavailable(str(error)) from error
        handle.stream, handle.frames_wanted = stream, stream.frames_wanted

    def close(self, handle: StreamHandle) -> None:
        """Free the stream, if it was opened."""
        handle.stream = handle.snapshot = None
        handle.seen = {}

    def snapshot(self, handle: StreamHandle) -> Snapshot:
        """The stream as it is between the jobs before and after this. Raises EngineUnavailable."""
        if (stream := handle.stream) is None:
            raise EngineUnavailable("the stream has been closed")
        handle.snapshot = stream.snapshot(handle.snapshot)
        return handle.snapshot

    def encode(self, texts: Sequence[str]) -> None:
        """Encode prompts before a chunk has to. Raises InputRejected."""
        try:
            self._engine.encode(texts)
        except ValueError as error:
            raise InputRejected(str(error)) from error

    def step(self, handle: StreamHandle, job: ChunkJob) -> ChunkResult:
        """One chunk. Raises InputRejected, StreamWasReset, or whatever the engine raises."""
        stream = handle.stream
        if stream is None:
            raise EngineUnavailable("the stream has been closed")
        sources: list[Rgb] = []
        seen, handle.seen = handle.seen, {}

        def take_asked() -> ChunkParameters:
            asked = job.slot.take()
            self._post(job.taken)
            return asked

        def on_frames(piece: ChunkResult) -> None:
            if self._settings.stamp_source:
                behind = sources[-piece.frames_in_chunk :][self._made :]
                piece = replace(piece, frames=stamp_source(piece.frames, behind[: len(piece.frames)]))
            self._made += len(piece.frames)
            self._post(job.add, piece)

        try:
            stamps = self._settings.stamp_source  # then the pictures of all are needed
            wanted = [frame for frame in dict.fromkeys(job.frames) if stamps or frame not in seen]
            pictures = dict(zip(wanted, job.to_rgb(wanted), strict=True))
            if stamps:
                sources += [pictures[frame] for frame in job.frames]
            known = pictures | seen
            return stream.step([known[frame] for frame in job.frames], take_asked, on_frames)
        except ValueError as error:
            raise InputRejected(str(error)) from error
        except GenerationFailed as error:
            raise StreamWasReset(str(error), stream.frames_wanted) from error

    def look_ahead(self, handle: StreamHandle, frames: Sequence[Frame], to_rgb: ToRgb) -> float | None:
        """Do what can be done for frames, one chunk's at most, before their chunk is there: what was done for
        others is forgotten. Returns the seconds that it took; None where another job waits, and it has done
        nothing. What fails here, the chunk does again."""
        if (stream := handle.stream) is None or not self._jobs.empty():
            return None
        began = time.monotonic()
        handle.seen = {frame: handle.seen[frame] for frame in frames if frame in handle.seen}
        unseen = [frame for frame in frames if frame not in handle.seen]

        def look() -> None:
            handle.seen |= zip(unseen, stream.look_ahead(to_rgb(unseen)), strict=True)
            self._engine.check_device()  # so that the time is the device's, too

        self._in_background(look, "Looking ahead at frames failed")
        took = time.monotonic() - began
        self._ahead_s += took
        return took

    def recache_ahead(self, handle: StreamHandle, prompts: WeightedPrompts) -> bool:
        """Compute a stream's window under the prompts that its next chunk will be asked for. False: another
        job waits, and it has done nothing. What fails here, the stream's next chunk tells."""
        if (stream := handle.stream) is None or not self._jobs.empty():
            return False
        began = time.monotonic()

        def recache() -> None:
            stream.recache_ahead(prompts)
            self._engine.check_device()  # so that the time is the device's, too

        self._in_background(recache, "Recomputing a window ahead failed")
        self._ahead_s += time.monotonic() - began
        return True

    def flush(self) -> None:
        """Finish what chunks have left undone, on the device too."""
        self._in_background(self._engine.flush, "Finishing a chunk failed")

    # Its life.

    def _post(self, function: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(self._hear, function, args)

    def _run(self) -> None:
        try:
            self._load_and_serve()
        except BaseException as error:  # a library's SystemExit, too: whoever waits must hear that it is over
            logger.critical("The model's thread has ended", exc_info=error)
            self._post(self._listener.on_lost, "the model's thread has ended")
        finally:
            if self._froze:
                gc.unfreeze()  # what stays in a process that goes on is garbage

    def _load_and_serve(self) -> None:
        _, error = attempt(self._start_engine)
        if error is None:
            self._post(self._listener.on_ready, self._engine.info, self._warm_pace)
            self._serve()
        elif isinstance(error, ValueError | OSError):
            logger.error("Cannot load the model: %s", misread(error, os.environ) or error)
            self._post(self._listener.on_failed, "cannot load the model, see the server's log")
        else:  # a bug of ours: the page must say so, and the log must show where
            logger.error("Loading the model failed", exc_info=error)
            self._post(self._listener.on_failed, "loading the model failed: internal error, see the log")

    def _start_engine(self) -> None:
        began = time.monotonic()
        with gc_frozen() as self._froze:
            engine_class = self._import_engine()
            imported = time.monotonic()
            self._engine = self._load(engine_class)
        logger.info(
            "Imports took %.1f s, loading and warming up %.1f",
            imported - began,
            time.monotonic() - imported,
        )

    def _load(self, engine_class: "type[StreamEngine]") -> "StreamEngine":
        settings = self._settings
        with progress_bar() as show:

            def tell(progress: "Progress") -> None:
                show(progress)
                self._tell_progress(progress)

            engine = engine_class.load(
                model=settings.model,
                depth=settings.depth,
                speed=settings.speed,
                decoder=settings.decoder,
                device=settings.device,
                gpus=settings.gpus,
                precision=settings.precision,
                controls=settings.controls,
                scribble=settings.scribble,
                size=settings.size,
                random_weights=settings.random_weights,
                cache_dir=settings.cache_dir,
                seed=settings.seed,
                sessions=settings.max_sessions,
                on_progress=tell,
            )
        self._post(self._listener.on_warming)
        self._warm_pace = engine.warm_up()
        return engine

    def _tell_progress(self, progress: "Progress") -> None:
        """Files of the model are on their way: every step to the page, one in a few seconds to the log."""
        now = time.monotonic()
        if now - self._told_progress >= PROGRESS_LOG_PERIOD_S:
            self._told_progress = now
            logger.info("Model: %s", progress.describe())
        self._post(self._listener.on_loading, progress.describe())

    def _serve(self) -> None:
        while (job := self._next_job()) is not None:
            self._do(job)

    def _do(self, job: Job[Any]) -> None:
        if job.future.cancelled():  # nobody waits: a stream that is opened for one who has left is memory
            self._post(self._answer, job, None, None)
            return
        began, self._made = time.monotonic(), 0
        result, error = attempt(job.work)
        if error is not None:  # whatever it is, it belongs to the session that asked; others go on
            if not isinstance(error, InputRejected | EngineUnavailable):
                self._check_device()
            self._post(self._answer, job, None, error)
            return
        self._post(self._answer, job, result, None)
        if self._made:
            self.flush()
            self._note_pace(time.monotonic() - began)

    def _next_job(self) -> Job[Any] | None:
        """Until there is one, memory is made ready for streams to come, and the device is looked after: one
        that is gone would take whoever comes next, and fail."""
        while self._jobs.empty() and self._prepare():
            pass
        while True:
            with contextlib.suppress(queue.Empty):
                return self._jobs.get(timeout=None if self._is_lost else IDLE_LOOK_S)
            self._check_device()

    def _prepare(self) -> bool:
        if not self._prepares:
            return False
        failed = "Preparing for a stream failed; later ones are not prepared for"
        there_is_more = self._in_background(self._engine.prepare, failed)
        self._prepares = there_is_more is not None
        return bool(there_is_more)

    def _in_background(self, work: Callable[[], R], failed: str) -> R | None:
        """What no job waits for. What is wrong then is logged, and will meet the next chunk."""
        result, error = attempt(work)
        if error is not None:
            logger.error(failed, exc_info=error)
            self._check_device()
        return result

    def _check_device(self) -> None:
        """After an error of no known kind: with a GPU that is gone nobody is to come in, and whoever watches
        the process is to know."""
        try:
            self._engine.check_device()
        except RuntimeError:
            logger.exception("The device can do no more work")
            self._is_lost = True
            self._post(self._listener.on_lost, "the device can do no more work")

    def _note_pace(self, seconds: float) -> None:
        """The job at hand took so long, all that it left to do included."""
        seconds, self._ahead_s = seconds + self._ahead_s, 0.0
        self._paces.append(self._made / max(seconds, 1e-6))
        self._post(self._listener.on_pace, median(self._paces))
        self._post(self._listener.on_memory, self._engine.memory_bytes())


def attempt(work: Callable[[], R]) -> tuple[R | None, Exception | None]:
    """What comes of it, and what went wrong with it: one of them is None."""
    try:
        return work(), None
    except Exception as error:  # the thread outlives whatever one piece of its work meets
        _forget_locals(error)
        return None, error


def _forget_locals(error: BaseException) -> None:
    """An error is logged and kept, with where it came from: not with what the work had in hand there. That is
    a stream, and the device's memory."""
    errors: list[BaseException] = [error]
    for error in errors:  # and what it came of, each once: a library may raise one from itself
        traceback.clear_frames(error.__traceback__)
        for cause in (error.__cause__, error.__context__):
            if cause is not None and cause not in errors:
                errors.append(cause)


def resolve(future: asyncio.Future[R], result: R) -> None:
    if not future.done():  # cancelled: its session is gone
        future.set_result(result)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # of jobs that nobody waits for, it is nobody's to hear
