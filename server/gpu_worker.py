"""The one thread that owns the model. The only module that knows streaming.engine.

The event loop hands it work and gets plain host data back; neither side touches what the other owns.
"""

import asyncio
import contextlib
import gc
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from server.engine.chunk_job import ChunkJob
from server.media.frames import Rgb, stamp_source
from server.progress_bar import progress_bar
from server.settings import Settings
from server.turns import Turns
from server.wire.replies import ModelInfo
from streaming.api import ChunkParameters, ChunkResult, EngineInfo, GenerationFailed

if TYPE_CHECKING:
    from streaming.engine import StreamEngine
    from streaming.hub import Progress
    from streaming.live_stream import LiveStream

logger = logging.getLogger(__name__)
R = TypeVar("R")

PROGRESS_LOG_PERIOD_S = 5.0
SWITCH_INTERVAL_S = 1e-4  # a shorter one gains nothing more
PACES_KEPT = 15  # chunks: a prompt switch now and then is not the pace
JOIN_TIMEOUT_S = 30.0  # longer than any chunk; only a download may take longer


class WorkerUnavailable(Exception):
    """The model could not be loaded, or the worker has been stopped; the text says why."""


class InputRejected(Exception):
    """The model refused this chunk's input. The stream is unharmed."""


class StreamWasReset(Exception):
    """The chunk could not be generated. The stream has started afresh, with its prompt."""


class Phase(Enum):
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Readiness:
    phase: Phase
    reason: str  # plain words, for /readyz and the page


def model_info(info: EngineInfo) -> ModelInfo:
    """The model, as clients are told about it."""
    return ModelInfo(
        name=info.model,
        trained=info.trained,
        about=info.about,
        width=info.width,
        height=info.height,
        steps=info.steps,
        depth=info.depth,
        device=info.device,
    )


def import_engine() -> "type[StreamEngine]":
    """Called in the worker's thread: importing torch takes seconds, and the page is served meanwhile."""
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
def long_lived() -> Generator[None]:
    """For what makes millions of objects that stay: libraries, networks, compiled code.

    Python's garbage collector looks through them again and again meanwhile, a quarter of the time that
    imports take, and ever after: 0.2 s, in which all threads stand still. So it pauses, and then leaves them
    out.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


class StreamHandle:
    """One stream, as the event loop knows it."""

    def __init__(self, stream: "LiveStream") -> None:
        self.stream: LiveStream | None = stream  # the worker's; None once closed
        self.frames_wanted = stream.frames_wanted  # of the next chunk; up to date whenever a step has ended


class _Job(Generic[R]):
    def __init__(self, work: Callable[[], R], future: asyncio.Future[R]) -> None:
        self.work = work
        self.future = future


class GpuWorker:
    """Loads the model, warms it up, then serves jobs in the order they come.

        worker.start()                        # on the event loop
        info = await worker.ready()
        handle = await worker.open(prompt="...", seed=0)
        async with worker.turns.take(seat):   # fair: sessions alternate chunk by chunk
            await worker.idle()
            result = await worker.step(handle, job)
        worker.close(handle)
        await worker.stop()

    `turns` keep at most one chunk between the loop and the thread: who waits for it, and then for `idle`, has
    not yet chosen its camera frames, and so takes the newest there are when the device is free. `readiness`,
    `info` and `pace` change on the loop only.
    """

    def __init__(
        self, settings: Settings, import_engine: Callable[[], "type[StreamEngine]"] = import_engine
    ) -> None:
        self._settings = settings
        self._import_engine = import_engine
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        # A daemon, so that a hanging download cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="gpu-worker", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settled = asyncio.Event()  # ready, failed or stopped
        self._listeners: set[Callable[[], None]] = set()
        self._told_progress = float("-inf")  # in the thread
        # In the thread: pictures a second, in the warm-up and chunk by chunk; pictures of the job at hand.
        self._warm_pace = 0.0
        self._paces: deque[float] = deque(maxlen=PACES_KEPT)
        self._made = 0
        self._prepares = True  # until that fails
        self.turns = Turns()
        self.pace: float | None = None  # pictures a second, of all streams together; None until ready
        self.info: EngineInfo | None = None  # None until ready
        self.readiness = Readiness(Phase.LOADING, f"loading the model {settings.model!r}")

    # On the event loop.

    def start(self) -> None:
        """Start the thread. Call it once, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread after the job at hand; whoever still waits for a job gets WorkerUnavailable."""
        self._set_readiness(Readiness(Phase.STOPPED, "the server is shutting down"))
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("The model's thread did not end within %.0f s; leaving it behind", JOIN_TIMEOUT_S)
        with contextlib.suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    _fail(job.future, WorkerUnavailable(self.readiness.reason))

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on every change of `readiness`; returns what ends the subscription."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    async def ready(self) -> EngineInfo:
        """Wait until the model is warm. Raises WorkerUnavailable if that will not happen."""
        await self._settled.wait()
        if self.info is None or self.readiness.phase is not Phase.READY:
            raise WorkerUnavailable(self.readiness.reason)
        return self.info

    async def open(self, *, prompt: str, seed: int) -> StreamHandle:
        """A new stream. Raises InputRejected for a prompt that the model cannot take."""
        await self.ready()
        return await self._call(lambda: self._open(prompt, seed))

    async def step(self, handle: StreamHandle, job: ChunkJob) -> ChunkResult:
        """One chunk of `handle.frames_wanted` pictures, which `job.add` was given already, piece by piece,
        and with the stamps that settings ask for.

        Raises InputRejected, StreamWasReset, or whatever else the engine raised: then the stream is lost.
        """
        return await self._call(lambda: self._step(handle, job))

    async def idle(self) -> None:
        """Wait until nothing of the jobs before is left to do, on the device neither. Camera frames that are
        chosen then do not grow old while it finishes another chunk."""
        await self._call(self._settle)

    async def encode(self, texts: Sequence[str]) -> None:
        """Encode prompts before a chunk has to. Raises InputRejected."""
        await self._call(lambda: self._encode(texts))

    def close(self, handle: StreamHandle) -> None:
        """Free a stream, after the jobs before it. Does not wait."""

        def forget() -> None:
            handle.stream = None

        if self.readiness.phase is Phase.READY:
            self._jobs.put(_Job(forget, asyncio.get_running_loop().create_future()))

    async def _call(self, work: Callable[[], R]) -> R:
        if self.readiness.phase is not Phase.READY:
            raise WorkerUnavailable(self.readiness.reason)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future))
        return await future

    def _set_readiness(self, readiness: Readiness) -> None:
        if self.readiness.phase is Phase.STOPPED:
            return
        logger.info("Model: %s", readiness.reason)
        self._announce(readiness)
        if readiness.phase not in (Phase.LOADING, Phase.WARMING):
            self._settled.set()

    def _announce(self, readiness: Readiness) -> None:
        self.readiness = readiness
        for listener in list(self._listeners):
            listener()

    def _set_progress(self, words: str) -> None:
        if self.readiness.phase is Phase.LOADING:
            self._announce(Readiness(Phase.LOADING, words))

    def _set_pace(self, pace: float) -> None:
        self.pace = pace

    def _set_ready(self, info: EngineInfo, pace: float) -> None:
        self.info, self.pace = info, pace
        trained = "" if info.trained else " (untrained: random weights)"
        self._set_readiness(Readiness(Phase.READY, f"{info.model}{trained} is ready on {info.device}"))

    # In the thread.

    def _post(self, function: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        try:
            began = time.monotonic()
            with long_lived():
                engine_class = self._import_engine()
                imported = time.monotonic()
                self._engine = self._load(engine_class)
            logger.info(
                "Imports took %.1f s, loading and warming up %.1f",
                imported - began,
                time.monotonic() - imported,
            )
        except (ValueError, OSError) as error:
            logger.error("Cannot load the model: %s", error)
            self._post(self._set_readiness, Readiness(Phase.FAILED, f"cannot load the model: {error}"))
        except Exception as error:  # a bug of ours: the page must say so, and the log must show where
            logger.exception("Loading the model failed")
            reason = f"loading the model failed: {type(error).__name__}: {error}"
            self._post(self._set_readiness, Readiness(Phase.FAILED, reason))
        else:
            self._post(self._set_ready, self._engine.info, self._warm_pace)
            self._serve()
        finally:
            gc.unfreeze()  # what stays in a process that goes on is garbage

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
                precision=settings.precision,
                random_weights=settings.random_weights,
                cache_dir=settings.cache_dir,
                seed=settings.seed,
                sessions=settings.max_sessions,
                on_progress=tell,
            )
        self._post(self._set_readiness, Readiness(Phase.WARMING, "warming up the model"))
        self._warm_pace = engine.warm_up()
        return engine

    def _tell_progress(self, progress: "Progress") -> None:
        """Files of the model are on their way: every step to the page, one in a few seconds to the log."""
        now = time.monotonic()
        if now - self._told_progress >= PROGRESS_LOG_PERIOD_S:
            self._told_progress = now
            logger.info("Model: %s", progress.describe())
        self._post(self._set_progress, progress.describe())

    def _serve(self) -> None:
        while (job := self._next_job()) is not None:
            began, self._made = time.monotonic(), 0
            try:
                result = job.work()
            except Exception as error:  # whatever it is, it belongs to the session that asked; others go on
                if not isinstance(error, InputRejected | StreamWasReset | WorkerUnavailable):
                    self._check_device()
                self._post(_fail, job.future, error)
            else:
                self._post(_resolve, job.future, result)
                if self._made:
                    self._settle()
                    self._note_pace(time.monotonic() - began)

    def _next_job(self) -> _Job[Any] | None:
        """Until there is one, memory is made ready for streams to come."""
        while self._jobs.empty() and self._prepare():
            pass
        return self._jobs.get()

    def _prepare(self) -> bool:
        if not self._prepares:
            return False
        failed = "Preparing for a stream failed; later ones are not prepared for"
        there_is_more = self._unasked(self._engine.prepare, failed)
        self._prepares = there_is_more is not None
        return bool(there_is_more)

    def _settle(self) -> None:
        self._unasked(self._engine.settle, "Finishing a chunk failed")

    def _unasked(self, work: Callable[[], R], failed: str) -> R | None:
        """What no job waits for. What is wrong then is logged, and will meet the next chunk."""
        try:
            return work()
        except Exception:
            logger.exception(failed)
            self._check_device()
            return None

    def _check_device(self) -> None:
        """After an error of no known kind: with a GPU that is gone nobody is to come in, and whoever watches
        the process is to know."""
        try:
            self._engine.check_device()
        except RuntimeError as error:
            logger.exception("The device can do no more work")
            reason = f"the device can do no more work, start the server again: {error}"
            self._post(self._set_readiness, Readiness(Phase.FAILED, reason))

    def _note_pace(self, seconds: float) -> None:
        """The job at hand took so long, all that it left to do included."""
        self._paces.append(self._made / max(seconds, 1e-6))
        self._post(self._set_pace, median(self._paces))

    def _encode(self, texts: Sequence[str]) -> None:
        try:
            self._engine.encode(texts)
        except ValueError as error:
            raise InputRejected(str(error)) from error

    def _open(self, prompt: str, seed: int) -> StreamHandle:
        try:
            return StreamHandle(self._engine.open(prompt=prompt, seed=seed))
        except ValueError as error:
            raise InputRejected(str(error)) from error

    def _step(self, handle: StreamHandle, job: ChunkJob) -> ChunkResult:
        stream = handle.stream
        if stream is None:
            raise WorkerUnavailable("the stream has been closed")
        sources: list[Rgb] = []

        def asked() -> ChunkParameters:
            parameters = job.slot.take()
            self._post(job.taken)
            return parameters

        def on_frames(piece: ChunkResult) -> None:
            if self._settings.stamp_source:
                seen = sources[-piece.frames_in_chunk :][self._made :]
                piece = replace(piece, frames=stamp_source(piece.frames, seen[: len(piece.frames)]))
            self._made += len(piece.frames)
            self._post(job.add, piece)

        try:
            sources += job.frames()
            return stream.step(sources, asked, on_frames)
        except ValueError as error:
            raise InputRejected(str(error)) from error
        except GenerationFailed as error:
            raise StreamWasReset(str(error)) from error
        finally:
            handle.frames_wanted = stream.frames_wanted


def _resolve(future: asyncio.Future[R], result: R) -> None:
    if not future.done():  # cancelled: its session is gone
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
