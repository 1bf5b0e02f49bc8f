"""Session: one stream, from camera frames to paced pictures. Everything here runs on the event loop.

camera_frame() -> CameraFeed -> GenerationLoop -> Playout -> shown(), and every subscriber of its broadcast
"""

import asyncio
from contextvars import copy_context

from av import VideoFrame

from server.engine.client import Phase, model_info
from server.engine.errors import EngineUnavailable, InputRejected
from server.engine.thread import StreamHandle
from server.logs import event, mark_session, session_logger
from server.media.coded_size import EXPECTED, SizeRejected
from server.media.frames import Rgb
from server.media.snapshot import SnapshotParameters
from server.metrics import StreamMeter
from server.protocol.http_models import SessionFigures, SessionView
from server.protocol.replies import (
    ErrorReply,
    Figures,
    Hello,
    ServerMessage,
    SessionSettings,
    StateChanged,
    Stats,
    Telemetry,
)
from server.services import Services
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels, Detach, Send
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue, RateLimit
from server.session.commands import CommandHandler
from server.session.control_preview import ControlPreview
from server.session.generation import MAX_FAILURES, GenerationLoop
from server.session.idle import IdleLimit
from server.session.journal_writer import JournalWriter
from server.session.message_limit import MessageLimit
from server.session.parameters import Parameters
from server.session.picture import Picture
from server.session.playout import Playout
from server.session.prompt_prefetch import PromptPrefetch
from server.session.session_record import SessionRecord, SessionValues
from server.session.state import SessionStateMachine, State
from streaming.api import CONTROLS, EngineInfo

TELEMETRY_PERIOD_S = 0.5
INTERNAL_ERROR = "internal error, see the log of the server"
COMPLAINTS_PER_S = 1.0  # of a camera whose pictures are not taken
SILENCE_S = 2.0  # without a camera frame, or a picture, before the output says so


class LiveSession:
    """Everything that one peer's stream owns.

        session = LiveSession(id, services)
        session.start()
        leave = session.join(send)                       # once the peer's data channel is there
        session.receive(text, send, is_peer=True)        # what came on it
        session.camera_frame(frame)                      # as the camera's track delivers them
        await session.close()

    At most one chunk of a session is with the engine; frames that come meanwhile wait in the camera's feed.
    """

    def __init__(self, id: str, services: Services, record: SessionRecord | None = None) -> None:
        """`record`: of the same session in another process, which is gone; this one goes on with it."""
        settings, engine, metrics = services.settings, services.engine, services.metrics
        self.id = id
        self.channels = ClientChannels(settings.peer_timeout, metrics)
        self._engine = engine
        self._log = session_logger(__name__, id)
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._tasks: list[asyncio.Task[None]] = []
        self._prefetch = PromptPrefetch(engine, self._log)
        self._unsubscribe = engine.subscribe(self._readiness_changed)

        self._state = SessionStateMachine(engine.readiness.reason, self._state_changed, self._log)
        self._info: EngineInfo | None = None  # None while warming
        self._meter = StreamMeter(metrics, self._began)
        self._previews = {name: ControlPreview() for name in CONTROLS}

        self.feed = CameraFeed(id, settings.max_fps, self._began)
        self.playout = Playout(self.feed, self._now, self._shown, metrics)
        self.playout.note = self._state.detail
        self.pacer = self.playout.pacer
        queue = ControlQueue()
        self._record = record  # None: it began here
        begins = Parameters.of(settings.prompt, settings.seed, settings.latency)
        self.planner = ChunkPlanner(queue, begins, preset=services.preset)
        self.images = self.planner.images  # uploaded to this session
        self.generation = GenerationLoop(
            id,
            engine,
            feed=self.feed,
            planner=self.planner,
            pacer=self.pacer,
            meter=self._meter,
            on_frames=lambda: self._state.become(State.LIVE, "live"),
            on_change=lambda: self.commands.chunk_changed(),
            tell=self.channels.send,
            tracer=services.tracer,
            on_chunk=lambda: self._journal_changed(),
        )
        self.commands = CommandHandler(
            id,
            channels=self.channels,
            queue=queue,
            planner=self.planner,
            generation=self.generation,
            feed=self.feed,
            state=self._state,
            prefetch=self._prefetch,
            recordings=services.recordings,
            stats=self.stats,
            on_settings=lambda: self._journal_changed(),
            sound=self.playout.sound,
        )
        self.may_go_on_elsewhere = False  # once it has ended here: its journal is kept
        self._journal: JournalWriter | None = None
        if services.journal is not None:
            self._journal = JournalWriter(
                id,
                services.journal,
                engine,
                is_busy=lambda: self.planner.is_busy,
                read=lambda: self._read(services.owner_of(id)),
                log=self._log,
                moves=record.moves if record else 0,
            )
        if record is not None:
            self._restore(record)
        self._idle = IdleLimit(settings.camera_seconds, settings.paused_seconds)
        self._shown_at = self._began
        # For the line at its end: by what its newest peer came, what it is sent, why that ended.
        self.transport, self.codec, self.end_reason = "none", "", "closed"
        self._is_ended = False
        self._rejected_size: str | None = None  # that of the camera's newest pictures, if they are not taken
        self._complaints = RateLimit(COMPLAINTS_PER_S)

    @property
    def has_begun(self) -> bool:
        return bool(self._tasks)

    def start(self) -> None:
        """Begin to generate, to play and to report. Call it once."""
        context = copy_context()
        context.run(mark_session, self.id)  # in the log
        works = (self._generate(), self.playout.run(), self._report())
        self._tasks = [asyncio.create_task(work, context=context.copy()) for work in works]
        generating, playing, _ = self._tasks
        for task in self._tasks:
            task.add_done_callback(self._task_ended)
        generating.add_done_callback(self._fail_of_bug)
        playing.add_done_callback(self._playout_ended)

    def peer_changed(self) -> None:
        """The peer came back by another connection: nothing of what it was to see before is shown now."""
        self.channels.peer_changed()
        self._idle.connection_changed()
        self.feed.skip_to_latest()
        self._meter.dropped_more("stale", self.pacer.clear())
        self.pacer.restart()

    async def close(self) -> None:
        """End the stream and free what it owns. Safe to call twice."""
        if not self._is_ended:
            self._is_ended = True
            self._log_totals()
        self._unsubscribe()
        self._journal_changed()  # what has not been told yet, too, while the stream is there
        self.playout.broadcast.end()
        self.commands.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._journal is not None:
            # One that has never begun here is not ours to forget, nor one that failed with the model.
            is_over = self.has_begun and not self.may_go_on_elsewhere and self.failure is None
            await self._journal.close(forgets=is_over)
        await self._prefetch.close()
        self._tasks.clear()
        # A session that was there when the model got ready may itself stay: see engine.thread.gc_frozen.
        self.feed.clear()
        self.playout.clear()
        self.generation.result = None

    def _log_totals(self) -> None:
        """One line of what has become of it; no prompt is in it."""
        stats, recordings = self.stats(""), self.commands.recorder.num_begun
        dropped, reason = stats.dropped.model_dump(), self.failure or self.end_reason
        self._log.info(
            "ended after %.1f s: %s; %d camera frames, %d shown, %d chunks, %s dropped, %d recordings, %s",
            *(stats.uptime_s, reason, stats.camera_frames, stats.shown_frames, stats.chunks),
            *(sum(dropped.values()), recordings, f"{self.transport} {self.codec or ''}".strip()),
            extra=event(
                "session_end",
                seconds=stats.uptime_s,
                reason=reason,
                camera_frames=stats.camera_frames,
                shown_frames=stats.shown_frames,
                chunks=stats.chunks,
                dropped=dropped,
                recordings=recordings,
                transport=self.transport,
                codec=self.codec,
            ),
        )

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("A task of this session failed", exc_info=error)

    def _fail_of_bug(self, task: asyncio.Task[None]) -> bool:
        """Fail the session if a bug of ours ended this task of it; the process goes on. Says whether."""
        if task.cancelled() or task.exception() is None:
            return False
        self._fail(INTERNAL_ERROR)  # the error's own words, which may tell of others, are for the log
        return True

    def _playout_ended(self, task: asyncio.Task[None]) -> None:
        if self._fail_of_bug(task):  # nothing can be shown any more: all who watch it end
            self.playout.broadcast.end()

    @property
    def picture(self) -> Picture | None:
        """The generated picture on show."""
        return self.playout.picture

    def _shown(self, picture: Picture, pts: int, now: float) -> None:
        """A picture has gone out: whatever it shaped has now been applied."""
        self._shown_at = now
        self._meter.shown(now, captured=picture.captured, made=picture.made)
        self.commands.shown(picture, pts, now)

    # Camera to pictures.

    def camera_frame(self, frame: VideoFrame) -> None:
        """The newest camera frame, of any size."""
        if self.feed.push(frame, self._now()):
            self._rejected_size = None
            self._meter.camera_frame()

    @property
    def has_camera(self) -> bool:
        """Whether a picture has ever come from the camera."""
        return self._meter.camera_frames > 0

    def idle_reason(self, now: float) -> str | None:
        """Why its peer is to give back the place that it does not use; None while it may keep it."""
        return self._idle.reason(now, seen_at=self.feed.seen_at, is_paused=self.generation.is_paused)

    def camera_dropped(self, count: int) -> None:
        """So many pictures of the camera gave way before they were decoded."""
        self.feed.lost(count)

    def camera_rejected(self, error: SizeRejected) -> None:
        """A picture of the camera is of a size that is not taken: clients are told once of each size."""
        self.feed.lost(1)
        is_new, self._rejected_size = error.size != self._rejected_size, error.size
        if not is_new or not self._complaints.allows(self._now()):
            return
        message = _size_told(error.size)
        self._log.warning("%s", message)
        self.channels.send(
            ErrorReply(code="rejected", field="camera", value=error.size, expected=EXPECTED, message=message)
        )
        if self._state.state is State.WAITING:
            self._state.become(State.WAITING, message)

    async def _generate(self) -> None:
        """The stream's life: wait for the model, then chunk after chunk. What ends it becomes its state."""
        try:
            self._info = await self._engine.ready()
            # No chunk has been planned: what was asked for until now waits, and is asked of the first.
            self.planner.begin_with(self._info, is_new=self._record is None)
            self.playout.begin_with(self.planner.parameters)
            self.channels.send(*self._hello())
            self._state.become(State.WAITING, "waiting for pictures from the camera")
            handle = await self._open()
            try:
                if self._journal is not None:
                    self._journal.follow(handle)
                await self.generation.play(handle)
            finally:
                self._engine.close(handle)
            self._fail(f"gave up: {MAX_FAILURES} chunks in a row could not be generated")
        except (EngineUnavailable, InputRejected) as error:
            self._fail(str(error))

    async def _open(self) -> StreamHandle:
        """The stream, as new or as it was in another process."""
        record, self._record = self._record, None
        if record is not None:
            try:
                return await self._engine.restore(record.stream)
            except InputRejected as error:
                self._log.warning("Goes on with a new stream, all else as it was: %s", error)
            self.planner.unknown = "all"
        parameters = self.planner.parameters
        return await self._engine.open(prompt=parameters.prompts[0].text, seed=parameters.current_seed)

    def _restore(self, record: SessionRecord) -> None:
        values = record.values
        for id, rgb in record.pictures.items():
            self.images.restore(id, rgb)
        self.commands.restore(values.output, is_frozen=values.frozen, is_paused=values.paused)
        self.planner.parameters = values.parameters.later(self.generation.time() - values.time)

    def _read(self, owner: str | None) -> tuple[SessionValues, list[tuple[str, Rgb]]]:
        """For the journal."""
        parameters = self.planner.parameters
        values = SessionValues(
            time=self.generation.time(),
            parameters=parameters,
            paused=self.generation.is_paused,
            frozen=self.commands.is_frozen,
            output=self.commands.output,
            owner=owner,
        )
        return values, [
            (id, rgb) for id in sorted(parameters.pictures) if (rgb := self.images.get(id)) is not None
        ]

    def _journal_changed(self) -> None:
        if self._journal is not None:
            self._journal.changed()

    @property
    def failure(self) -> str | None:
        """Why the session has failed for good; None while it has not."""
        return self._state.failure

    # Clients.

    def join(self, send: Send) -> Detach:
        """Greet a client and tell it what happens; returns what ends that. Raises TooManyClients."""
        leave = self.channels.attach(send)
        self.channels.reply(send, *self._hello(), self._state.message)
        return leave

    def receive(
        self,
        raw: str | bytes,
        send: Send | None = None,
        *,
        is_peer: bool = False,
        limit: MessageLimit | None = None,
    ) -> None:
        """One message of a client's; answers go to `send` (None: to all). Nothing in it raises.

        `limit` is that of the connection by which it came; whoever owns that looks afterwards whether it has
        been exceeded."""
        self.commands.receive(raw, send, is_peer=is_peer, limit=limit)

    def ask(self, raw: str | bytes) -> list[ServerMessage]:
        """One message of a client's without a channel; returns what it is answered at once."""
        return self.commands.ask(raw)

    def view(self) -> SessionView:
        """How it stands, all in one."""
        figures = self.stats("").model_dump(exclude={"type", "id"})
        return SessionView(
            id=self.id,
            state=self._state.state.value,
            detail=self._state.detail,
            settings=self.commands.settings(),
            figures=SessionFigures.model_validate(figures, strict=False),
        )

    def snapshot(self) -> tuple[Rgb, SnapshotParameters] | None:
        """The picture on show, (H, W, 3) uint8, and what made it; None before the first."""
        picture = self.picture
        if picture is None or self._info is None:
            return None
        return picture.rgb, picture.snapshot(self._info)

    def _hello(self) -> list[Hello | SessionSettings]:
        if self._info is None:
            return []  # it follows once the model is known
        settings = self.commands.settings()
        hello = Hello(
            session=self.id,
            model=model_info(self._info),
            prompt=settings.prompts[0].text,
            guidance_scale=self.commands.parameters.scale,
            controls=settings.controls,
        )
        return [hello, settings]

    def _state_changed(self, message: StateChanged) -> None:
        self.channels.send(message)
        self.playout.note = None if self._state.state is State.LIVE else self._state.detail
        self.playout.wake()

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.channels.send(ErrorReply(code="internal", message=reason))
            self._state.become(State.FAILED, reason, restarts=self._engine.starts_again)

    def _readiness_changed(self) -> None:
        readiness = self._engine.readiness
        if readiness.phase is Phase.FAILED:  # also told to who waits for no job, as without a camera
            self._fail(readiness.reason)
        elif self._state.state is State.WARMING:
            self._state.become(State.WARMING, readiness.reason)

    def _check_pulse(self, now: float) -> None:
        """Say so when the camera or the generator has fallen silent; a silent picture looks like a crash."""
        patience = max(SILENCE_S, 2 * self.pacer.interval)
        since = max(self._shown_at, self.generation.resumed_at)
        is_silent = not self.generation.is_paused and not len(self.pacer) and now - since > patience
        detail = None
        if self._state.state is State.LIVE and is_silent:
            detail = "the model is slower than usual"
        if self._state.state is State.WAITING or detail:
            if self.generation.is_paused:
                detail = "paused"
            elif now - self.feed.seen_at > SILENCE_S:
                size = self._rejected_size
                detail = "waiting for pictures from the camera" if size is None else _size_told(size)
            elif self.picture is None and self.feed.newest is not None:
                detail = "generating the first pictures"
        if detail:
            self._state.become(State.WAITING, detail)

    # Figures.

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(TELEMETRY_PERIOD_S)
            self._check_pulse(self._now())
            figures, result = self.figures(), self.generation.result
            if self.channels.is_watched:
                previews = self._previews
                depth = await previews["depth"].of(result.depth_preview if result else None)
                gray = await previews["gray"].of(result.gray_preview if result else None)
                lines = await previews["lines"].of(result.lines_preview if result else None)
                self.channels.send_telemetry(
                    Telemetry(
                        depth_preview=depth,
                        gray_preview=gray,
                        lines_preview=lines,
                        timeline_position=self.commands.timeline_position(),
                        **dict(figures),
                    )
                )

    def figures(self) -> Figures:
        """How the stream is doing."""
        self._meter.dropped_in_all("camera", self.feed.dropped)
        self._meter.dropped_in_all("pacing", self.pacer.dropped)
        result = self.generation.result
        return self._meter.figures(
            self._now(),
            state=self._state.state.value,
            chunk=self.picture.chunk if self.picture else None,
            guidance_scale=result.guidance_scale if result else None,
            noise_scale=result.noise_scale if result else None,
        )

    def stats(self, id: str) -> Stats:
        """The figures, and counts since the session began."""
        return self._meter.stats(id, self._now(), self.figures())


def _size_told(size: str) -> str:
    return f"the camera's pictures are {size}: expected {EXPECTED}"
