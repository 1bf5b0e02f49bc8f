"""Generation loop of a session: from the camera's newest frames to pictures that wait to be shown."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from av import VideoFrame

from server.engine.chunk_job import ChunkJob
from server.engine.client import EngineClient
from server.engine.errors import InputRejected, StreamWasReset
from server.engine.thread import StreamHandle
from server.logs import CHUNK, session_logger
from server.media.frames import to_rgb
from server.media.pacing import Pacer
from server.metrics import StreamMeter
from server.protocol.replies import ErrorReply, Superseded
from server.session.camera import CameraFeed, Chunk
from server.session.chunk_planner import ChunkPlanner
from server.session.forecast import ChunkForecast
from server.session.look_ahead import LookAhead
from server.session.picture import Picture
from server.session.timeline import PausableClock
from server.tracing import ChunkTimes, ChunkTracer
from streaming.api import ChunkParameters, ChunkResult, WeightedPrompts

MAX_FAILURES = 5  # chunks in a row; then the stream is given up


@dataclass(slots=True)
class _ChunkInProgress:
    """One chunk on its way from the camera to the pacer."""

    sequence: int
    camera: Chunk[VideoFrame]
    began: float  # when the model was given to it
    asked: ChunkParameters = ChunkParameters()  # as the device thread has taken it
    pictures: int = 0  # that have come
    is_stale: bool = False  # nothing of it is shown, whatever comes meanwhile


class GenerationLoop:
    """Keeps one chunk of a stream with the engine, unless it is paused.

        await generation.play(handle)        # returns when it gives up
        generation.pause()                   # no chunk begins, and nothing of one that is under way is shown
        generation.resume()

    It alone tells the planner what becomes of a chunk.
    """

    def __init__(
        self,
        session_id: str,
        engine: EngineClient,
        *,
        feed: CameraFeed,
        planner: ChunkPlanner,
        pacer: Pacer[Picture],
        meter: StreamMeter,
        on_frames: Callable[[], None],
        on_change: Callable[[], None],
        tell: Callable[..., None],
        tracer: ChunkTracer | None = None,
        on_chunk: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_frames` is called when pictures have been queued, `on_change` when a chunk has changed what is
        in effect or is with the model no more, `on_chunk` between two chunks; `tell` is given what clients
        are to know of failures."""
        self.result: ChunkResult | None = None  # the newest
        self._log = session_logger(__name__, session_id)
        self._engine = engine
        self._feed = feed
        self._planner = planner
        self._pacer = pacer
        self._meter = meter
        self._on_frames = on_frames
        self._on_change = on_change
        self._on_chunk = on_chunk
        self._tell = tell
        self._id, self._tracer = session_id, tracer
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._clock = PausableClock()
        self._is_running = asyncio.Event()
        self._is_running.set()
        self.resumed_at = self._now()
        self._look_ahead = LookAhead(engine, feed)
        self._forecast = ChunkForecast(
            engine, pacer, lambda: self._recaches(planner.recached_next(self.time()))
        )
        self._refresh_timer: asyncio.TimerHandle | None = None
        self._frames_wanted = 0  # by the next chunk
        self._sequence = 0
        self._generation = 0
        self._failures = 0

    @property
    def is_paused(self) -> bool:
        return not self._is_running.is_set()

    def time(self) -> float:
        """Seconds on the clock of what moves by itself, which stands still while it is paused."""
        return self._clock.time(self._now())

    def pause(self) -> None:
        """Make no more chunks; what waits to be shown would be old when it goes on."""
        self._clock.pause(self._now())
        self._is_running.clear()
        self._meter.dropped_more("stale", self._pacer.clear())

    def resume(self) -> None:
        """Go on with the newest pictures of the camera."""
        self.resumed_at = self._now()
        self._clock.resume(self.resumed_at)
        self._feed.skip_to_latest()
        self._pacer.restart()
        self._is_running.set()

    async def play(self, handle: StreamHandle) -> None:
        """Generate chunks until MAX_FAILURES chunks in a row have failed."""
        self._frames_wanted = handle.frames_wanted
        while self._failures < MAX_FAILURES:
            await self._is_running.wait()
            if not await self._feed.ready(self._frames_wanted):
                if not self.is_paused:
                    await self._look_ahead.recache(handle, self._planner.recached_next(self.time()))
                    await self._look_ahead.while_they_come(handle, self._frames_wanted)
                continue
            async with self._engine.scheduler.take(self._forecast.client(self._frames_wanted)):
                began = self._now()
                await self._engine.idle()
                if self._is_wanted:
                    await self._look_ahead.before_they_are_taken(handle, self._frames_wanted)
                if self._is_wanted:
                    await self._one_chunk(handle, began)

    @property
    def _is_wanted(self) -> bool:
        """Whether a chunk may still begin: others may have had the device for long."""
        return not self.is_paused and self._feed.is_ready(self._frames_wanted)

    async def _one_chunk(self, handle: StreamHandle, began: float) -> None:
        """Send the newest frames and the waiting commands to the model; queue what comes back."""
        self._sequence += 1
        CHUNK.set(self._sequence)  # in the log
        taken_at = self._now()
        chunk = self._feed.take(self._frames_wanted, taken_at)
        in_progress = _ChunkInProgress(self._sequence, chunk, began)
        job = ChunkJob(
            chunk.frames,
            to_rgb,  # in the device thread: the loop touches no pixels
            self._planner.begin(self._sequence, self.time()),
            on_taken=partial(self._taken, in_progress),
            on_frames=partial(self._add, in_progress),
        )
        self._refresh_later()
        error, stages_ms = None, dict[str, float]()
        try:
            result = await self._engine.step(handle, job)
        except InputRejected as rejected:
            error = rejected
            self._failed("rejected", error, self._planner.reject(str(error), self.time()))
        except StreamWasReset as reset:
            error = reset
            self._frames_wanted = error.frames_wanted
            self._failed("reset", error, self._planner.lost())
        else:
            self._failures = 0
            self.result, self._frames_wanted = result, result.frames_wanted
            times = chunk.times[-len(result.frames) :]
            stages_ms = dict(result.timings_ms)
            self._meter.chunk(stages_ms, collect=taken_at - sum(times) / len(times))
        finally:
            job.close()
            self._stop_refreshing()
            self._planner.finish()
            self._look_ahead.taken()
            self._on_change()
            self._on_chunk()
        if self._tracer is not None:
            spent = ChunkTimes(chunk.times[0], began, taken_at, self._now(), stages_ms)
            self._tracer.record(self._id, self._sequence, spent, None if error is None else str(error))

    def _refresh_later(self) -> None:
        """As soon as something moves by itself, ask it of the chunk under way."""
        if (seconds := self._planner.next_move(self.time())) is not None:
            self._refresh_timer = self._loop.call_later(seconds, self._refresh)

    def _refresh(self) -> None:
        self._planner.refresh(self.time())
        self._refresh_later()

    def _stop_refreshing(self) -> None:
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()

    def _taken(self, in_progress: _ChunkInProgress) -> None:
        """The device thread knows what the chunk is asked; nothing can be added."""
        self._stop_refreshing()
        in_progress.asked = self._planner.taken().asked
        if self._recaches(in_progress.asked.recached):
            self._forecast.recaches(in_progress.began)

    def _recaches(self, prompts: WeightedPrompts | None) -> bool:
        """Whether a chunk that is asked for these, as a new prompt, has the window to compute for them."""
        return prompts is not None and prompts != self._look_ahead.recached

    def _failed(
        self, code: Literal["rejected", "reset"], error: Exception, replies: Sequence[ErrorReply | Superseded]
    ) -> None:
        """A chunk could not be made; `replies` are for those whose commands it had."""
        self._failures += 1
        self._log.warning("Chunk %d of the session: %s", self._sequence, error)
        if not any(isinstance(reply, ErrorReply) for reply in replies):
            replies = [*replies, ErrorReply(code=code, message=str(error))]
        self._tell(*replies)

    def _add(self, in_progress: _ChunkInProgress, piece: ChunkResult) -> None:
        """Some pictures of the chunk are there."""
        if not in_progress.pictures:
            self._planner.made(piece.chunk)
            self._on_change()
            took = self._now() - in_progress.began
            self._forecast.note(took, chunk=piece.chunk, recaches=self._recaches(in_progress.asked.recached))
        self._deliver(in_progress, piece)
        in_progress.pictures += len(piece.frames)

    def _deliver(self, in_progress: _ChunkInProgress, piece: ChunkResult) -> None:
        """Queue pictures to be shown; what is of an older generation, or too late, is dropped."""
        count, done = len(piece.frames), in_progress.pictures
        if piece.generation < self._generation or self.is_paused:
            in_progress.is_stale = True
        if in_progress.is_stale:
            self._meter.dropped_more("stale", count)
            return
        if not done and (piece.generation > self._generation or in_progress.asked.is_switch):
            # What is left of the former look gives way: who has asked for another one waits for it.
            self._generation = piece.generation
            self._meter.dropped_more("stale", self._pacer.clear())
        now, camera = self._now(), in_progress.camera
        # After a cut the newest 9 of 12 frames come back.
        whole = slice(len(camera.times) - piece.frames_in_chunk, None)
        times, sources = camera.times[whole][done:], camera.frames[whole][done:]
        pictures = [
            Picture(
                rgb=rgb,
                chunk=piece.chunk,
                frame=piece.first_frame + number,
                sequence=in_progress.sequence,
                captured=time,
                made=now,
                source=source,
                parameters=self._planner.parameters,
                guidance_scale=piece.guidance_scale,
                noise_scale=piece.noise_scale,
            )
            for number, (rgb, time, source) in enumerate(
                zip(piece.frames, times[:count], sources[:count], strict=True)
            )
        ]
        if done:
            self._pacer.extend(pictures, now)
        else:
            span = camera.span * piece.frames_in_chunk / len(camera.times)
            self._pacer.push(pictures, span, now, of=piece.frames_in_chunk, number=piece.chunk)
        self._on_frames()
