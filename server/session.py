"""One stream, from camera frames to paced pictures. Everything here runs on the event loop.

camera_frame() -> ChunkAssembler -> GpuWorker.step() -> Pacer -> OutputTrack.recv() -> shown()
"""

import asyncio
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from av import VideoFrame

from server.camera_clock import CameraClock
from server.control import Change, ControlQueue
from server.frames import Picture, Size, is_usable, to_rgb
from server.gpu_worker import (
    GpuWorker,
    InputRejected,
    StreamHandle,
    StreamWasReset,
    WorkerUnavailable,
    model_info,
)
from server.link import ControlLink
from server.logs import session_logger
from server.metrics import Metrics, StreamMeter
from server.pacing import MediaClock, Pacer
from server.replies import Ack, ErrorReply, Figures, Hello, StateChanged, Stats, Telemetry
from server.requests import GetStats
from server.settings import Settings
from streaming.chunks import Chunk, ChunkAssembler

if TYPE_CHECKING:
    from streaming.engine import ChunkResult, EngineInfo

CAMERA_RING = 48  # decoded frames, 2 s at 24 fps: what comes in while a slow chunk is generated
PROVISIONAL_SIZE = (256, 144)  # of the output until the model, and so its size, is known
TELEMETRY_PERIOD_S = 1.0
SILENCE_S = 2.0  # without a camera frame, or a picture, before the output says so
MAX_FAILURES = 5  # chunks in a row; then the session gives up


class State(Enum):
    WARMING = "warming"  # the model is not ready
    WAITING = "waiting"  # for camera frames or for the first picture made of them
    LIVE = "live"
    FAILED = "failed"  # for good: the camera is shown, with the reason


TRANSITIONS: dict[State, set[State]] = {
    State.WARMING: {State.WAITING, State.FAILED},
    State.WAITING: {State.LIVE, State.FAILED},
    State.LIVE: {State.WAITING, State.FAILED},
    State.FAILED: set(),
}


class LiveSession:
    """Everything one viewer's stream owns. A Scene for OutputTrack.

        session = LiveSession(id, settings, worker, metrics)
        session.start()
        session.link.attach(send); session.greet()   # once the peer's data channel is there
        session.receive(text)                        # what came on it
        session.camera_frame(frame)                  # as the camera's track delivers them
        await session.close()

    At most one chunk of a session is with the worker; frames that come meanwhile wait in the assembler.
    """

    def __init__(self, id: str, settings: Settings, worker: GpuWorker, metrics: Metrics) -> None:
        self.id = id
        self.link = ControlLink(settings.peer_timeout, metrics)
        self._settings = settings
        self._worker = worker
        self._log = session_logger(__name__, id)
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe = worker.subscribe(self._worker_changed)

        self._state = State.WARMING
        self._detail = worker.readiness.reason
        self._info: EngineInfo | None = None  # None while warming
        self._meter = StreamMeter(metrics)

        self.camera: VideoFrame | None = None
        self._camera_clock = CameraClock()
        self._camera_seen = self._began
        self._camera_came = asyncio.Event()
        self._unusable = 0  # camera frames of a size that cannot be worked with
        self._assembler: ChunkAssembler[VideoFrame] = ChunkAssembler(
            capacity=CAMERA_RING, max_fps=settings.max_fps
        )

        self._controls = ControlQueue()
        self._prompt = settings.prompt
        self._guidance_scale = 1.0
        self._turn = 0
        self._generation = 0
        self._failures = 0

        self.media_clock = MediaClock()
        self.pacer: Pacer[Picture] = Pacer(self.media_clock)
        self.changed = asyncio.Event()
        self._shown: Picture | None = None
        self._shown_at = self._began

    def start(self) -> None:
        """Begin to generate and to report. Call it once."""
        self._tasks = [asyncio.create_task(self._generate()), asyncio.create_task(self._report())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def close(self) -> None:
        """End the stream and free what it owns. Safe to call twice."""
        self._unsubscribe()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("A task of this session failed", exc_info=error)

    # What the output track shows.

    @property
    def note(self) -> str | None:
        """Words over the camera while nothing generated is there to show."""
        return None if self._state is State.LIVE else self._detail

    @property
    def size(self) -> Size:
        return (self._info.width, self._info.height) if self._info else PROVISIONAL_SIZE

    def shown(self, picture: Picture, now: float) -> None:
        """A picture went to the encoder: whatever it shaped has now been applied."""
        self._shown, self._shown_at = picture, now
        self._meter.shown(now)
        self._meter.took("pace", now - picture.made)
        self._meter.took("total", now - picture.captured)
        self.link.send(*self._controls.shown(picture.turn, picture.chunk, picture.frame, now))

    # Camera to pictures.

    def camera_frame(self, frame: VideoFrame) -> None:
        """The newest camera frame, of any size. Converted later, and only if it is chosen."""
        if not is_usable(frame.width, frame.height):
            if not self._unusable:
                self._log.warning("drops camera frames of %dx%d: too large", frame.width, frame.height)
            self._unusable += 1
            return
        now = self._now()
        timestamp = now if frame.pts is None else frame.time
        self._assembler.push(frame, self._camera_clock.map(timestamp, now))
        self.camera, self._camera_seen = frame, now
        self._meter.camera_frame()
        self._camera_came.set()

    async def _generate(self) -> None:
        """The stream's life: wait for the model, then chunk after chunk. What ends it becomes its state."""
        try:
            self._info = await self._worker.ready()
            self._send_hello()
            self._set_state(State.WAITING, "waiting for pictures from the camera")
            handle = await self._worker.open(prompt=self._prompt, seed=self._settings.seed)
            try:
                await self._play(handle)
            finally:
                self._worker.close(handle)
        except (WorkerUnavailable, InputRejected) as error:
            self._fail(str(error))
        except Exception as error:  # a bug of ours ends this session, not the process
            self._log.exception("Generation failed")
            self._fail(f"internal error: {type(error).__name__}: {error}")

    async def _play(self, handle: StreamHandle) -> None:
        while self._failures < MAX_FAILURES:
            await self._chunk_ready(handle.frames_wanted)
            async with self._worker.turn:
                await self._one_chunk(handle)
        self._fail(f"gave up: {MAX_FAILURES} chunks in a row could not be generated")

    async def _chunk_ready(self, count: int) -> None:
        """Wait until the assembler can give a chunk of `count` frames."""
        while True:
            self._camera_came.clear()
            now = self._now()
            ready = self._assembler.ready_at(count, now)
            if ready is not None and ready <= now:
                return
            try:
                async with asyncio.timeout(None if ready is None else ready - now):
                    await self._camera_came.wait()
            except TimeoutError:
                pass

    async def _one_chunk(self, handle: StreamHandle) -> None:
        """Send the newest frames and the waiting commands to the model; queue what comes back."""
        self._turn += 1
        taken_at = self._now()
        chunk = self._assembler.take(handle.frames_wanted, taken_at)
        change = self._controls.take(self._turn)
        try:
            # Converted in the worker's thread: the loop touches no pixels.
            result = await self._worker.step(handle, partial(to_rgb, chunk.frames, self.size), change)
        except InputRejected as error:
            replies = self._controls.reject(self._turn, str(error))
            self._chunk_failed(*(replies or [ErrorReply(code="rejected", message=str(error))]))
        except StreamWasReset as error:
            self.link.send(*self._controls.retry(self._turn))
            self._chunk_failed(ErrorReply(code="reset", message=str(error)))
        else:
            self._failures = 0
            self._remember(change)
            self._deliver(chunk, result, taken_at)

    def _chunk_failed(self, *replies: ErrorReply) -> None:
        self._failures += 1
        self._log.warning("Turn %d: %s", self._turn, replies[0].message)
        self.link.send(*replies)

    def _remember(self, change: Change) -> None:
        if change.prompt is not None:
            self._prompt = change.prompt
        if change.guidance_scale is not None:
            self._guidance_scale = change.guidance_scale

    def _deliver(self, chunk: Chunk[VideoFrame], result: "ChunkResult", taken_at: float) -> None:
        """Queue a chunk's pictures to be shown; whatever is of an older generation is dropped."""
        count = len(result.frames)
        if result.generation < self._generation:
            self._meter.dropped_more("stale", count)
            return
        if result.generation > self._generation:
            self._generation = result.generation
            self._meter.dropped_more("stale", self.pacer.clear())
        times = chunk.times[-count:]  # after a cut the newest 9 of 12 frames come back
        now = self._now()
        pictures = [
            Picture(
                rgb=rgb,
                chunk=result.chunk,
                frame=result.first_frame + number,
                turn=self._turn,
                captured=time,
                made=now,
            )
            for number, (rgb, time) in enumerate(zip(result.frames, times, strict=True))
        ]
        self.pacer.push(pictures, chunk.span * count / len(chunk.times), now)
        self._measure(result.timings_ms, collect=taken_at - sum(times) / count)
        self._set_state(State.LIVE, "live")
        self.changed.set()

    def _measure(self, timings_ms: dict[str, float], collect: float) -> None:
        self._meter.chunk()
        self._meter.took("collect", collect)
        for stage in ("depth", "encode", "generate", "decode"):
            if stage in timings_ms:
                self._meter.took(stage, timings_ms[stage] / 1000)

    # State and control.

    def greet(self) -> None:
        """Tell the peer what it joined and how things stand."""
        self._send_hello()
        self.link.send(StateChanged(state=self._state.value, detail=self._detail))

    def _send_hello(self) -> None:
        if self._info is None:
            return  # it follows once the model is known
        self.link.send(
            Hello(
                session=self.id,
                model=model_info(self._info),
                prompt=self._prompt,
                guidance_scale=self._guidance_scale,
            )
        )

    def receive(self, raw: str | bytes) -> None:
        """One message of the peer's; everything wrong with it is answered, nothing raises."""
        now = self._now()
        match self.link.receive(raw, now):
            case None:
                pass
            case GetStats(id=id):
                self.link.send(Ack(id=id), self._stats(id, now))
            case command if self._state is State.FAILED:
                self.link.send(ErrorReply(id=command.id, code="rejected", message=self._detail))
            case command:
                self.link.send(*self._controls.submit(command, now))

    def _set_state(self, state: State, detail: str) -> None:
        if (state, detail) == (self._state, self._detail):
            return
        if state is not self._state:
            if state not in TRANSITIONS[self._state]:
                raise RuntimeError(f"session {self.id}: {self._state.value} cannot become {state.value}")
            self._log.info("%s (%s)", state.value, detail)
        self._state, self._detail = state, detail
        self.link.send(StateChanged(state=state.value, detail=detail))
        self.changed.set()

    def _fail(self, reason: str) -> None:
        self.link.send(ErrorReply(code="internal", message=reason))
        self._set_state(State.FAILED, reason)

    def _worker_changed(self) -> None:
        if self._state is State.WARMING:
            self._set_state(State.WARMING, self._worker.readiness.reason)

    def _check_pulse(self, now: float) -> None:
        """Say so when the camera or the generator has fallen silent; a silent picture looks like a crash."""
        patience = max(SILENCE_S, 2 * self.pacer.interval)
        if self._state is State.LIVE and not len(self.pacer) and now - self._shown_at > patience:
            self.pacer.restart()
            self._set_state(State.WAITING, "the model is slower than usual")
        if self._state is State.WAITING:
            if now - self._camera_seen > SILENCE_S:
                self._set_state(State.WAITING, "waiting for pictures from the camera")
            elif self._shown is None and self.camera is not None:
                self._set_state(State.WAITING, "painting the first pictures")

    # Figures.

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(TELEMETRY_PERIOD_S)
            now = self._now()
            self._check_pulse(now)
            self.link.send_telemetry(Telemetry(**dict(self._figures(now))))

    def _figures(self, now: float) -> Figures:
        self._meter.dropped_in_all("camera", self._assembler.dropped + self._unusable)
        self._meter.dropped_in_all("pacing", self.pacer.dropped)
        return Figures(
            fps=self._meter.fps(now),
            chunk=self._shown.chunk if self._shown else None,
            latency_ms=self._meter.latency(),
            dropped=self._meter.dropped(),
            state=self._state.value,
        )

    def _stats(self, id: str, now: float) -> Stats:
        return Stats(
            id=id,
            camera_frames=self._meter.camera_frames,
            shown_frames=self._meter.shown_frames,
            chunks=self._meter.chunks,
            uptime_s=round(now - self._began, 1),
            **dict(self._figures(now)),
        )
