"""Client of the device thread, on the event loop: readiness, pace, and jobs that can be awaited."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from server.engine.chunk_job import ChunkJob, Frame, ToRgb
from server.engine.errors import EngineUnavailable
from server.engine.scheduler import Scheduler
from server.engine.thread import EngineThread, Job, Snapshot, StreamHandle, fail, import_engine
from server.protocol.replies import ModelInfo
from server.settings import Settings
from streaming.api import ChunkResult, EngineInfo, WeightedPrompts

if TYPE_CHECKING:
    from streaming.engine import StreamEngine

logger = logging.getLogger(__name__)
R = TypeVar("R")

JOIN_TIMEOUT_S = 3.0  # longer than a chunk of a live stream; who stops the server waits


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
        can_turn=info.can_turn,
        steps=len(info.steps),
        depth=info.depth,
        device=info.device,
    )


class EngineClient:
    """Has the model loaded and warmed up, then jobs done in the order they come.

        engine.start()                              # on the event loop
        info = await engine.ready()
        stream = await engine.open(prompt="...", seed=0)
        async with engine.scheduler.take(client):   # fair: sessions alternate chunk by chunk
            await engine.idle()
            result = await engine.step(stream, job)
        engine.close(stream)
        await engine.stop()

    `scheduler` keeps at most one chunk between the loop and the thread: who waits for it, and then for
    `idle`, has not yet chosen its camera frames, and so takes the newest there are when the device is free.
    """

    def __init__(
        self, settings: Settings, import_engine: "Callable[[], type[StreamEngine]]" = import_engine
    ) -> None:
        """`import_engine` gives the class of the engine; called in the thread."""
        self._settings = settings
        self._thread = EngineThread(settings, import_engine, listener=self)
        self._decided = asyncio.Event()  # ready, failed or stopped
        self._listeners: set[Callable[[], None]] = set()
        self.scheduler = Scheduler()
        self.pace: float | None = None  # pictures a second, of all streams together; None until ready
        self.info: EngineInfo | None = None  # None until ready
        self.gpu_memory_bytes = 0  # taken of it, after the newest chunk; 0 on a CPU
        self._is_silent = False
        self.is_lost = False  # it was ready, and can do no more work
        self.ready_at: float | None = None  # on the loop's clock
        self.restarts = False  # whoever serves it starts the process again then
        self.readiness = Readiness(Phase.LOADING, "loading the model")

    def start(self) -> None:
        """Start the thread. Call it once, on the running event loop."""
        self._thread.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        """End the thread after the job at hand; whoever still waits for a job gets EngineUnavailable."""
        self._become(Phase.STOPPED, "the server is shutting down")
        if self._thread.is_alive and not self._is_silent:
            self._thread.put(None)
            await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_S)
        if self._thread.is_alive:
            logger.warning("The model's thread does not end; leaving it behind")
        self._fail_jobs()

    @property
    def silent_seconds(self) -> float:
        """For so long the thread owes an answer and has told nothing."""
        return self._thread.silent_seconds

    @property
    def age_seconds(self) -> float:
        """Since the model was ready; 0 before."""
        return 0.0 if self.ready_at is None else asyncio.get_running_loop().time() - self.ready_at

    @property
    def starts_again(self) -> bool:
        """Whether it is lost, and the server starts again for it by itself."""
        return self.is_lost and self.restarts

    @property
    def has_left_thread(self) -> bool:
        """Whether its thread is still at work though it was stopped: it may be, for ever, anywhere in native
        code."""
        return self.readiness.phase is Phase.STOPPED and self._thread.is_alive

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on every change of `readiness`; returns what ends the subscription."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    async def ready(self) -> EngineInfo:
        """Wait until the model is warm. Raises EngineUnavailable if that will not happen."""
        await self._decided.wait()
        if self.info is None or self.readiness.phase is not Phase.READY:
            raise EngineUnavailable(self.readiness.reason)
        return self.info

    async def open(self, *, prompt: str, seed: int) -> StreamHandle:
        """A new stream. Raises InputRejected for a prompt that the model cannot take, EngineUnavailable where
        there is no memory for it."""
        return await self._opened(partial(self._thread.open, prompt=prompt, seed=seed))

    async def restore(self, parts: Mapping[str, bytes]) -> StreamHandle:
        """A stream that goes on where a snapshot was taken, in whichever process. Raises InputRejected for
        one of another model or size, or that is damaged, EngineUnavailable as `open`."""
        return await self._opened(partial(self._thread.restore, parts=parts))

    def snapshot(self, handle: StreamHandle) -> asyncio.Future[Snapshot]:
        """What another process needs to go on with this stream, after the jobs before and none that comes
        later. The future has EngineUnavailable for a stream that has ended."""
        return self._put(partial(self._thread.snapshot, handle))

    async def step(self, handle: StreamHandle, job: ChunkJob) -> ChunkResult:
        """One chunk of as many pictures as the last result said, which `job.add` was given already, piece by
        piece, and with the stamps that settings ask for.

        Raises InputRejected, StreamWasReset, or whatever else the engine raised: then the stream is lost.
        """
        return await self._call(partial(self._thread.step, handle, job))

    async def look_ahead(self, handle: StreamHandle, frames: Sequence[Frame], to_rgb: ToRgb) -> float | None:
        """Do what can be done for frames that the next chunk will most likely have, as far as it has not been
        done: the chunk then finds it done. Returns the seconds that it took; None: there was other work."""
        return await self._call(partial(self._thread.look_ahead, handle, frames, to_rgb))

    async def recache_ahead(self, handle: StreamHandle, prompts: WeightedPrompts) -> bool:
        """Compute the window under prompts that the next chunk will be asked for: it need not, then. False:
        there was other work."""
        return await self._call(partial(self._thread.recache_ahead, handle, prompts))

    async def idle(self) -> None:
        """Wait until nothing of the jobs before is left to do, on the device neither. Camera frames that are
        chosen then do not grow old while it finishes another chunk."""
        await self._call(self._thread.flush)

    async def encode(self, texts: Sequence[str]) -> None:
        """Encode prompts before a chunk has to. Raises InputRejected."""
        await self._call(partial(self._thread.encode, texts))

    def close(self, handle: StreamHandle) -> None:
        """Free a stream, after the jobs before it. Does not wait."""
        if self.readiness.phase is Phase.READY:
            self._thread.put(
                Job(partial(self._thread.close, handle), asyncio.get_running_loop().create_future())
            )

    async def _opened(self, begin: Callable[[StreamHandle], None]) -> StreamHandle:
        await self.ready()
        handle = StreamHandle()
        try:
            await self._call(partial(begin, handle))
        except asyncio.CancelledError:
            self.close(handle)  # it may be open by now, or soon
            raise
        return handle

    async def _call(self, work: Callable[[], R]) -> R:
        return await self._put(work)

    def _put(self, work: Callable[[], R]) -> asyncio.Future[R]:
        """What comes of a job that is in the queue from now on."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if self.readiness.phase is Phase.READY:
            self._thread.put(Job(partial(copy_context().run, work), future))  # for the log
        else:
            fail(future, EngineUnavailable(self.readiness.reason))
        return future

    def _become(self, phase: Phase, reason: str) -> None:
        is_over = self.readiness.phase is Phase.FAILED and phase is not Phase.STOPPED
        if is_over or self.readiness.phase is Phase.STOPPED:
            return
        logger.info("Model: %s", reason)
        self._announce(Readiness(phase, reason))
        if phase not in (Phase.LOADING, Phase.WARMING):
            self._decided.set()

    def _announce(self, readiness: Readiness) -> None:
        self.readiness = readiness
        for listener in list(self._listeners):
            listener()

    # What the thread tells.

    def on_loading(self, words: str) -> None:
        if self.readiness.phase is Phase.LOADING:
            self._announce(Readiness(Phase.LOADING, words))

    def on_warming(self) -> None:
        self._become(Phase.WARMING, "warming up the model")

    def on_ready(self, info: EngineInfo, pace: float) -> None:
        self.info, self.pace = info, pace
        self.ready_at = asyncio.get_running_loop().time()
        trained = "" if info.trained else " (untrained: random weights)"
        self._become(Phase.READY, f"{info.model}{trained} is ready on {info.device}")

    def on_failed(self, reason: str) -> None:
        self._become(Phase.FAILED, reason)
        self._fail_jobs()

    def on_lost(self, reason: str) -> None:
        self.is_lost = self.info is not None
        remedy = "the server starts again" if self.restarts else "start the server again"
        self.on_failed(f"{reason}, {remedy}")

    def on_silent(self) -> None:
        seconds = self._thread.patience
        logger.critical("The model's thread has told nothing for %.0f s:\n%s", seconds, self._thread.stack())
        self._is_silent = True
        self.on_lost(f"the model has not answered for {seconds:.0f} s")

    def _fail_jobs(self) -> None:
        """Whoever still waits for a job hears why it will not be done."""
        for job in self._thread.give_up():
            fail(job.future, EngineUnavailable(self.readiness.reason))

    def on_pace(self, pace: float) -> None:
        self.pace = pace

    def on_memory(self, taken: int) -> None:
        self.gpu_memory_bytes = taken
