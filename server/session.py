"""One stream, from camera frames to paced pictures. Everything here runs on the event loop.

camera_frame() -> CameraFeed -> GpuWorker.step() -> Pacer -> OutputTrack.recv() -> shown()
"""

import asyncio
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from av import VideoFrame

from server.camera import CameraFeed
from server.chunk_request import ChunkRequest
from server.depth_preview import depth_preview
from server.desk import Desk
from server.frames import Picture, Rgb, Size, to_rgb
from server.gpu_worker import (
    GpuWorker,
    InputRejected,
    StreamHandle,
    StreamWasReset,
    WorkerUnavailable,
    model_info,
)
from server.images import ImageStore
from server.link import ControlLink, Send
from server.logs import session_logger
from server.metrics import Metrics, StreamMeter
from server.pacing import MediaClock, Pacer
from server.recordings import Recordings
from server.replies import (
    ErrorReply,
    Figures,
    Hello,
    ServerMessage,
    SessionSettings,
    StateChanged,
    Stats,
    Telemetry,
)
from server.settings import Settings
from server.snapshot import SnapshotParameters
from streaming.chunks import Chunk

if TYPE_CHECKING:
    from streaming.engine import ChunkResult, EngineInfo

PROVISIONAL_SIZE = (256, 144)  # of the output until the model, and so its size, is known
TELEMETRY_PERIOD_S = 0.5
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
    """Everything one viewer's stream owns. A Scene for OutputTrack, a Stage for Desk.

        session = LiveSession(id, settings, worker, metrics, recordings)
        session.start()
        session.link.attach(send); session.greet(send)   # once the peer's data channel is there
        session.receive(text, send, is_peer=True)        # what came on it
        session.camera_frame(frame)                      # as the camera's track delivers them
        await session.close()

    At most one chunk of a session is with the worker; frames that come meanwhile wait in the camera's feed.
    """

    def __init__(
        self,
        id: str,
        settings: Settings,
        worker: GpuWorker,
        metrics: Metrics,
        recordings: Recordings | None = None,
    ) -> None:
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

        self._feed = CameraFeed(id, settings.max_fps, self._began)
        self.desk = Desk(
            self, self.link, recordings, session_id=id, prompt=settings.prompt, seed=settings.seed
        )
        self._turn = 0
        self._generation = 0
        self._failures = 0
        self._result: ChunkResult | None = None  # the newest
        self.is_busy = False
        self._resumed = asyncio.Event()
        self._resumed.set()

        self.media_clock = MediaClock()
        self.pacer: Pacer[Picture] = Pacer(self.media_clock)
        self.changed = asyncio.Event()
        self.picture: Picture | None = None  # on show
        self._shown_at = self._began

    def start(self) -> None:
        """Begin to generate and to report. Call it once."""
        self._tasks = [asyncio.create_task(self._generate()), asyncio.create_task(self._report())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def close(self) -> None:
        """End the stream and free what it owns. Safe to call twice."""
        self._unsubscribe()
        self.desk.close()
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
    def camera(self) -> VideoFrame | None:
        """The newest camera frame; while frozen, the one held."""
        return self._feed.newest

    @property
    def size(self) -> Size:
        return (self._info.width, self._info.height) if self._info else PROVISIONAL_SIZE

    @property
    def is_paused(self) -> bool:
        return self.desk.is_paused

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        """A picture went to the encoder: whatever it shaped has now been applied."""
        self.picture, self._shown_at = picture, now
        self._meter.shown(now)
        self._meter.took("pace", now - picture.made)
        self._meter.took("total", now - picture.captured)
        self.desk.shown(picture, pts, now, self.camera)

    # Camera to pictures.

    def camera_frame(self, frame: VideoFrame) -> None:
        """The newest camera frame, of any size."""
        if self._feed.push(frame, self._now()):
            self._meter.camera_frame()

    async def _generate(self) -> None:
        """The stream's life: wait for the model, then chunk after chunk. What ends it becomes its state."""
        try:
            self._info = await self._worker.ready()
            self.link.send(*self._hello())
            self._set_state(State.WAITING, "waiting for pictures from the camera")
            handle = await self._worker.open(prompt=self._settings.prompt, seed=self._settings.seed)
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
            await self._resumed.wait()
            if not await self._feed.ready(handle.frames_wanted) or self.is_paused:
                continue
            async with self._worker.turn:
                if not self.is_paused:  # others may have had the worker for long
                    await self._one_chunk(handle)
        self._fail(f"gave up: {MAX_FAILURES} chunks in a row could not be generated")

    async def _one_chunk(self, handle: StreamHandle) -> None:
        """Send the newest frames and the waiting commands to the model; queue what comes back."""
        self._turn += 1
        taken_at = self._now()
        chunk = self._feed.take(handle.frames_wanted, taken_at)
        plan = self.desk.plan(self._turn)
        references, mask = self.desk.pictures(plan.change)
        # Converted in the worker's thread: the loop touches no pixels.
        frames = partial(to_rgb, chunk.frames, self.size)
        request = ChunkRequest(frames=frames, change=plan.change, references=references, mask=mask)
        self.is_busy = True
        try:
            result = await self._worker.step(handle, request)
        except InputRejected as error:
            replies = self.desk.rejected(self._turn, str(error))
            self._chunk_failed(*(replies or [ErrorReply(code="rejected", message=str(error))]))
        except StreamWasReset as error:
            self.desk.lost(self._turn)
            self._chunk_failed(ErrorReply(code="reset", message=str(error)))
        else:
            self._failures = 0
            self.desk.made(self._turn, plan, result)
            self._deliver(chunk, result, taken_at)
        finally:
            self.is_busy = False

    def _chunk_failed(self, *replies: ErrorReply) -> None:
        self._failures += 1
        self._log.warning("Turn %d: %s", self._turn, replies[0].message)
        self.link.send(*replies)

    def _deliver(self, chunk: Chunk[VideoFrame], result: "ChunkResult", taken_at: float) -> None:
        """Queue a chunk's pictures to be shown; whatever is of an older generation is dropped."""
        self._result = result
        count = len(result.frames)
        if result.generation < self._generation or self.is_paused:
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

    # What the desk has a hand on.

    @property
    def failure(self) -> str | None:
        return self._detail if self._state is State.FAILED else None

    def pause(self) -> None:
        """Stop with the picture on show; what waits to be shown would be old when it goes on."""
        self._resumed.clear()
        self._meter.dropped_more("stale", self.pacer.clear())

    def resume(self) -> None:
        """Go on with the newest pictures of the camera."""
        self._feed.skip_to_latest()
        self.pacer.restart()
        self._shown_at = self._now()
        self._resumed.set()

    def freeze(self, on: bool) -> None:
        self._feed.freeze(on)

    def limit_fps(self, fps: float | None) -> None:
        self._feed.limit_fps(fps)

    # Clients.

    @property
    def images(self) -> ImageStore:
        """The pictures uploaded to this session."""
        return self.desk.images

    def greet(self, send: Send | None = None) -> None:
        """Tell a client (None: all) what it joined and how things stand."""
        state = StateChanged(state=self._state.value, detail=self._detail)
        messages: list[ServerMessage] = [*self._hello(), state]
        if send is None:
            self.link.send(*messages)
        else:
            self.link.reply(send, *messages)

    def receive(self, raw: str | bytes, send: Send | None = None, *, is_peer: bool = False) -> None:
        """One message of a client's; answers go to `send` (None: to all). Nothing in it raises."""
        self.desk.receive(raw, send, is_peer=is_peer)

    def ask(self, raw: str | bytes) -> list[ServerMessage]:
        """One message of a client's without a channel; returns what it is answered at once."""
        return self.desk.ask(raw)

    def settings(self) -> SessionSettings:
        """Everything that commands can change, as it is now."""
        return self.desk.settings()

    def snapshot(self) -> tuple[Rgb, SnapshotParameters] | None:
        """The picture on show, (H, W, 3) uint8, and what made it; None before the first."""
        picture, making = self.picture, self.desk.making
        if picture is None or making is None or self._info is None:
            return None
        return picture.rgb, SnapshotParameters(
            model=self._info.model,
            prompts=making.parameters.prompts,
            seed=making.parameters.current_seed,
            chunk=picture.chunk,
            frame=picture.frame,
            guidance_scale=making.guidance_scale,
            steps=making.parameters.steps or self._info.steps,
            time=datetime.now(UTC),
        )

    def _hello(self) -> list[Hello | SessionSettings]:
        if self._info is None:
            return []  # it follows once the model is known
        settings = self.settings()
        hello = Hello(
            session=self.id,
            model=model_info(self._info),
            prompt=settings.prompts[0].text,
            guidance_scale=self.desk.parameters.scale,
        )
        return [hello, settings]

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
        if self._state is State.LIVE and self._is_silent(now, patience):
            self.pacer.restart()
            self._set_state(State.WAITING, "the model is slower than usual")
        if self._state is State.WAITING:
            if self.is_paused:
                self._set_state(State.WAITING, "paused")
            elif now - self._feed.seen_at > SILENCE_S:
                self._set_state(State.WAITING, "waiting for pictures from the camera")
            elif self.picture is None and self.camera is not None:
                self._set_state(State.WAITING, "painting the first pictures")

    def _is_silent(self, now: float, patience: float) -> bool:
        return not self.is_paused and not len(self.pacer) and now - self._shown_at > patience

    # Figures.

    async def _report(self) -> None:
        preview: str | None = None
        previewed: ChunkResult | None = None
        while True:
            await asyncio.sleep(TELEMETRY_PERIOD_S)
            now = self._now()
            self._check_pulse(now)
            if self.link.is_watched and self._result is not None and self._result is not previewed:
                previewed, preview = self._result, depth_preview(self._result.depth_preview)
            self.link.send_telemetry(
                Telemetry(
                    depth_preview=preview,
                    timeline_position=self.desk.timeline_position(),
                    **dict(self.figures(now)),
                )
            )

    def figures(self, now: float | None = None) -> Figures:
        """How the stream is doing."""
        now = self._now() if now is None else now
        self._meter.dropped_in_all("camera", self._feed.dropped)
        self._meter.dropped_in_all("pacing", self.pacer.dropped)
        return Figures(
            fps=self._meter.fps(now),
            chunk=self.picture.chunk if self.picture else None,
            latency_ms=self._meter.latency(),
            dropped=self._meter.dropped(),
            state=self._state.value,
            guidance_scale=self._result.guidance_scale if self._result else None,
        )

    def stats(self, id: str) -> Stats:
        now = self._now()
        return Stats(
            id=id,
            camera_frames=self._meter.camera_frames,
            shown_frames=self._meter.shown_frames,
            chunks=self._meter.chunks,
            uptime_s=round(now - self._began, 1),
            **dict(self.figures(now)),
        )
