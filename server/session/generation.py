"""Generation loop of a session: from the camera's newest frames to pictures that wait to be shown."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from av import VideoFrame

from server.engine.chunk_job import ChunkJob
from server.engine.client import EngineClient
from server.engine.errors import InputRejected, StreamWasReset
from server.engine.thread import StreamHandle
from server.media.frames import to_rgb
from server.media.pacing import Pacer
from server.metrics import StreamMeter
from server.protocol.replies import ErrorReply
from server.session.camera import CameraFeed, Chunk
from server.session.commands import CommandHandler
from server.session.forecast import ChunkForecast
from server.session.gate import GenerationGate
from server.session.picture import Picture
from streaming.api import ChunkParameters, ChunkResult

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

    await loop.play(handle)              # returns when it gives up

    A closed gate is a pause: no chunk begins, and nothing of one that is under way is shown.
    """

    def __init__(
        self,
        engine: EngineClient,
        feed: CameraFeed,
        gate: GenerationGate,
        commands: CommandHandler,
        pacer: Pacer[Picture],
        meter: StreamMeter,
        log: "logging.LoggerAdapter[logging.Logger]",
        *,
        on_frames: Callable[[], None],
        on_failed: Callable[..., None],
    ) -> None:
        """`on_frames` is called when pictures have been queued, `on_failed` with what to tell of failures."""
        self.result: ChunkResult | None = None  # the newest
        self.is_busy = False  # a chunk is with the model
        self._engine = engine
        self._feed = feed
        self._gate = gate
        self._commands = commands
        self._pacer = pacer
        self._meter = meter
        self._log = log
        self._on_frames = on_frames
        self._on_failed = on_failed
        self._now = asyncio.get_running_loop().time
        self._frames_wanted = 0  # by the next chunk
        self._sequence = 0
        self._generation = 0
        self._failures = 0
        self._forecast = ChunkForecast(engine, pacer, lambda: commands.is_recache_ahead)

    async def play(self, handle: StreamHandle) -> None:
        """Generate chunks until MAX_FAILURES chunks in a row have failed."""
        self._frames_wanted = handle.frames_wanted
        while self._failures < MAX_FAILURES:
            await self._gate.wait()
            if not await self._feed.ready(self._frames_wanted):
                continue
            async with self._engine.scheduler.take(self._forecast.client(self._frames_wanted)):
                began = self._now()
                await self._engine.idle()
                # Others may have had the device for long: it may not be wanted any more.
                if self._gate.is_open and self._feed.is_ready(self._frames_wanted):
                    await self._one_chunk(handle, began)

    async def _one_chunk(self, handle: StreamHandle, began: float) -> None:
        """Send the newest frames and the waiting commands to the model; queue what comes back."""
        self._sequence += 1
        taken_at = self._now()
        chunk = self._feed.take(self._frames_wanted, taken_at)
        in_progress = _ChunkInProgress(self._sequence, chunk, began)
        job = ChunkJob(
            partial(to_rgb, chunk.frames),  # in the device thread: the loop touches no pixels
            self._commands.begin(self._sequence),
            on_taken=partial(self._taken, in_progress),
            on_frames=partial(self._add, in_progress),
        )
        self.is_busy = True
        try:
            result = await self._engine.step(handle, job)
        except InputRejected as error:
            replies = self._commands.rejected(str(error))
            self._chunk_failed(*(replies or [ErrorReply(code="rejected", message=str(error))]))
        except StreamWasReset as error:
            self._frames_wanted = error.frames_wanted
            self._commands.lost()
            self._chunk_failed(ErrorReply(code="reset", message=str(error)))
        else:
            self._failures = 0
            self.result, self._frames_wanted = result, result.frames_wanted
            times = chunk.times[-len(result.frames) :]
            self._meter.chunk(result.timings_ms, collect=taken_at - sum(times) / len(times))
        finally:
            job.close()
            self.is_busy = False
            self._commands.finished()

    def _taken(self, in_progress: _ChunkInProgress) -> None:
        """The device thread knows what the chunk is asked; nothing can be added."""
        in_progress.asked = self._commands.taken().change
        if in_progress.asked.recaches:
            self._forecast.recaches(in_progress.began)

    def _add(self, in_progress: _ChunkInProgress, piece: ChunkResult) -> None:
        """Some pictures of the chunk are there."""
        if not in_progress.pictures:
            self._commands.made(piece.chunk)
            took = self._now() - in_progress.began
            self._forecast.note(took, chunk=piece.chunk, recaches=in_progress.asked.recaches)
        self._deliver(in_progress, piece)
        in_progress.pictures += len(piece.frames)

    def _chunk_failed(self, *replies: ErrorReply) -> None:
        self._failures += 1
        self._log.warning("Chunk %d of the session: %s", self._sequence, replies[0].message)
        self._on_failed(*replies)

    def _deliver(self, in_progress: _ChunkInProgress, piece: ChunkResult) -> None:
        """Queue pictures to be shown; what is of an older generation, or too late, is dropped."""
        count, done = len(piece.frames), in_progress.pictures
        if piece.generation < self._generation or not self._gate.is_open:
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
                parameters=self._commands.parameters,
                guidance_scale=piece.guidance_scale,
            )
            for number, (rgb, time, source) in enumerate(
                zip(piece.frames, times[:count], sources[:count], strict=True)
            )
        ]
        if done:
            self._pacer.extend(pictures)
        else:
            span = camera.span * piece.frames_in_chunk / len(camera.times)
            self._pacer.push(pictures, span, now, of=piece.frames_in_chunk)
        self._on_frames()
