"""Stream of one user: camera pictures and chunk parameters in, one generated chunk out."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.api import (
    CHUNK,
    CONTROLS,
    DEFAULT_SCALE,
    FIRST_CHUNK,
    ChunkParameters,
    ChunkResult,
    ControlName,
    DepthSettings,
    EngineInfo,
    GenerationFailed,
    Orientation,
    WeightedPrompts,
)
from streaming.blocks.adaptive_scale import AdaptiveScale
from streaming.blocks.camera_start import CameraLatents, MotionNoise
from streaming.blocks.first_picture import with_first_picture
from streaming.blocks.region_mask import RegionMask
from streaming.blocks.text_conditioning import Prompts, parse_prompts
from streaming.blocks.vace_encoding import GuidanceMode
from streaming.controls.control_videos import ControlVideo, control_videos
from streaming.controls.gray import gray_of
from streaming.controls.lines import lines_of
from streaming.depth.chunk_frames import ChunkFrames, SeenFrame, look_at
from streaming.depth.estimators import DepthEstimator
from streaming.depth.stream_depth import Depth, StreamDepth
from streaming.frames import fit_frames, to_uint8
from streaming.gpu.memory import give_back_memory, is_out_of_memory
from streaming.gpu.stage_clock import StageClock
from streaming.parameters import StreamParameters
from streaming.pipeline import LongLivePipeline, Sampling
from streaming.reprime import reprime
from streaming.session import StreamSession
from streaming.shapes import Shape
from streaming.snapshot import StreamSnapshot, latents_of, on_host, without_padding

logger = logging.getLogger(__name__)

PREVIEW = (72, 128)  # height and width of a control's preview, whatever the model's size


class LiveStream:
    """One stream: its session, its depth and what its user asked for. Dropping it frees its memory."""

    def __init__(
        self,
        pipeline: LongLivePipeline,
        estimator: DepthEstimator,
        info: EngineInfo,
        session: StreamSession,
        *,
        prompt: Prompts,
        orientation: Orientation = "wide",
    ) -> None:
        self._info = info
        self._pipeline = pipeline
        self._session = session
        self._estimator = estimator
        self._parameters = StreamParameters(
            prompts=parse_prompts(prompt),
            strengths={**dict.fromkeys(CONTROLS, 0.0), **dict(info.controls)},
            orientation=orientation,
        )
        self._depth = StreamDepth(estimator, pipeline.device, *self._shape.size)
        self._motion_gain, self._noise = AdaptiveScale(), MotionNoise()
        self._had_depth = False  # whether the last chunk had any
        self._shown: Tensor | None = None  # (T, 3, H, W) in [-1, 1]: the last piece, while depth looks at it
        self._unfinished: str | None = None  # why the last chunk could not be finished, until that is told

    @classmethod
    def restored(
        cls,
        pipeline: LongLivePipeline,
        estimator: DepthEstimator,
        info: EngineInfo,
        snapshot: StreamSnapshot,
    ) -> Self:
        """A stream that goes on where another one was. Raises SnapshotRejected for one of another model or
        size."""
        parameters, device = snapshot.parameters, pipeline.device
        session = reprime(pipeline, snapshot)
        asked, orientation = parameters.prompts, parameters.orientation
        stream = cls(pipeline, estimator, info, session, prompt=asked, orientation=orientation)
        stream._parameters = replace(
            parameters,
            references=session.references,
            mask=parameters.mask and parameters.mask.to(device),
        )
        stream._depth.resume(snapshot.depth)
        stream._motion_gain, stream._noise = snapshot.motion_gain, snapshot.motion_noise
        stream._had_depth = snapshot.had_depth
        return stream

    @torch.inference_mode()
    def snapshot(self, before: StreamSnapshot | None = None) -> StreamSnapshot:
        """What another process needs to go on from here, between two chunks. Of latents it copies to the host
        what `before`, an earlier snapshot of this stream, has not. The clean pass that the last chunk has put
        off may still be to come: it changes nothing here."""
        session, parameters = self._session, self._parameters
        references, mask = parameters.references, parameters.mask
        window, channels = session.cache.window, self._pipeline.preset.transformer.in_dim
        has_left_sink = session.latent > window.local_attn_size
        return StreamSnapshot(
            model=self._info.model,
            seed=session.seed,
            noise=session.noise.get_state(),
            chunk=session.chunk,
            frame=session.frame,
            generation=session.generation,
            recent=latents_of(session, before),
            sink=on_host(session.sink) if has_left_sink and session.sink is not None else None,
            prompts=session.prompts,
            sink_prompts=session.sink_prompts,
            blend=session.blend and replace(session.blend, start=without_padding(session.blend.start)),
            parameters=replace(
                parameters,
                references=None if references is None else on_host(references[:, :, :channels]),
                mask=mask and RegionMask(on_host(mask.paint), on_host(mask.share)),
            ),
            depth=replace(self._depth.state, memory=None),
            had_depth=self._had_depth,
            motion_gain=self._motion_gain,
            motion_noise=replace(self._noise, last=None),
        )

    @property
    def _shape(self) -> Shape:
        return self._pipeline.shapes.of(self._parameters.orientation)

    @property
    def frames_wanted(self) -> int:
        return CHUNK if self._session.chunk else FIRST_CHUNK

    @torch.inference_mode()
    def look_ahead(self, pictures: Sequence[np.ndarray]) -> list[SeenFrame]:
        """Do for these pictures what a chunk's last frame need not wait for: fit them and estimate their
        depth. `step` takes each of what is returned in the place of its picture, and then does it for the
        others alone; whatever it is not given was in vain. Nothing of the stream changes, or is in them.

        Alignment, range and control are of a whole chunk. Raises ValueError as `step`, and whatever the
        estimator raises.
        """
        settings = self._parameters.estimated
        estimator = self._estimator if settings is not None and not settings.points else None
        where, fit = (*self._shape.size, self._pipeline.device), self._parameters.fit
        return look_at(pictures, *where, estimator, fit)

    def recache_ahead(self, prompts: WeightedPrompts) -> None:
        """Compute the window under new prompts that the next chunk will be asked for, of the transition
        "recache", so that it need not: see `LongLivePipeline.recache_ahead`. If it fails, the stream is
        reset, which the next `step` tells."""
        try:
            self._pipeline.recache_ahead(self._session, parse_prompts(prompts))
        except RuntimeError:
            self._forget()
            self._unfinished = "the window could not be computed under the new prompt; stream was reset"
            raise

    @torch.inference_mode()
    def step(
        self,
        frames: Sequence[np.ndarray | SeenFrame],
        asked: ChunkParameters | Callable[[], ChunkParameters],
        on_frames: Callable[[ChunkResult], None] | None = None,
    ) -> ChunkResult:
        """Generate one chunk from `frames_wanted` pictures (H, W, 3) uint8 RGB, oldest first, of any size, or
        what `look_ahead` gave for them.

        A reset or cut makes this a first chunk again: the newest 9 pictures are used and 9 come back. It
        keeps everything that was asked for, the prompt too; a blend under way is over with it. References
        guide every chunk until they are replaced or cleared: guiding their first alone, they would be gone
        once the window has moved on, and clearing them would change nothing. `asked` may be a function:
        it is called once depth has been estimated, so that what is asked meanwhile is not a chunk late.
        `on_frames` is given the chunk piece by piece, as soon as each is there. Only a first chunk can have a
        first picture, of any size; the model is shown it as strongly as the controls, and goes on from it.
        Another orientation is a reset, too: references and a mask that are in effect must come with it anew.

        Raises ValueError (bad input, the stream is unharmed) or GenerationFailed (the stream was reset);
        after either, what was asked for has not happened, unless a piece had been given away.
        """
        if (unfinished := self._unfinished) is not None:
            self._unfinished = None
            raise GenerationFailed(unfinished)
        if len(frames) != self.frames_wanted:
            raise ValueError(f"frames: expected {self.frames_wanted} pictures, got {len(frames)}")
        pieces: list[ChunkResult] = []
        with self._or_fresh(pieces):
            return self._chunk(frames, asked, pieces, on_frames)

    def _chunk(
        self,
        frames: Sequence[np.ndarray | SeenFrame],
        asked: ChunkParameters | Callable[[], ChunkParameters],
        pieces: list[ChunkResult],
        on_frames: Callable[[ChunkResult], None] | None,
    ) -> ChunkResult:
        """As `step`; what was given away is in `pieces`, however it ends."""
        clock, first_frame = StageClock(self._pipeline.device), self._session.frame
        with clock.stage("total"):
            with clock.stage("depth"):
                before, depths = self._parameters, self._depth
                seen, depth, known = self._fitted(frames, before), None, None
                if not isinstance(asked, ChunkParameters):
                    # Few commands change what depth depends on: begin with that.
                    known = before.estimated
                    depth = self._estimate(depths, seen, known, starts_over=False)
                    asked = asked()
                parameters = before.changed_by(asked, self._pipeline)
                shape = self._pipeline.shapes.of(parameters.orientation)
                is_turned = shape is not self._shape
                starts_over = asked.starts_over or is_turned
                if asked.first_picture is not None and self._session.chunk and not starts_over:
                    raise ValueError(
                        "first_picture: expected with a stream's first chunk, a reset or a cut, "
                        f"got chunk {self._session.chunk}"
                    )
                if refits := is_turned or parameters.fit != before.fit:
                    seen = self._fitted(frames, parameters)
                if is_turned:
                    depths = self._depth.of_size(*shape.size)
                if starts_over:
                    seen = seen.newest(FIRST_CHUNK)
                if starts_over or refits or parameters.estimated != known:
                    depth = self._estimate(depths, seen, parameters.estimated, starts_over)
                camera = seen.pictures
                region = parameters.region(depth)
                guiding = depth if parameters.depth.enabled else None
            motion_gain = AdaptiveScale() if starts_over else self._motion_gain
            motion_gain = motion_gain.follow(guiding.motion) if guiding else AdaptiveScale()
            scale = motion_gain.applied(parameters.strengths["depth"], parameters.adaptive)
            noise = (MotionNoise() if starts_over else self._noise).follow(parameters.camera_start, camera)
            with clock.stage("encode"):
                controls = self._drawn(camera, guiding, parameters.strengths)

            def decoded(video: Tensor) -> None:
                done = sum(len(piece.frames) for piece in pieces)
                if region is not None:
                    video = region.composite(video, camera[done : done + len(video)], done)
                self._shown = video.float().movedim(-1, 1) * 2 - 1 if parameters.depth.refinement else None
                piece = ChunkResult(
                    frames=np.ascontiguousarray((video * 255).round_().to(torch.uint8).cpu().numpy()),
                    chunk=self._session.chunk,
                    first_frame=first_frame + done,
                    frames_in_chunk=len(camera),
                    generation=self._session.generation,
                    guidance_scale=scale,
                    noise_scale=noise.scale,
                )
                if not pieces:
                    self._remember(parameters, motion_gain, noise, depths, depth)
                pieces.append(piece)
                if on_frames:
                    on_frames(piece)

            chunk = parameters, asked, camera, controls, region, scale, noise.scale, starts_over
            self._generate(*chunk, clock, decoded)
        pictures = [piece.frames for piece in pieces]
        return replace(
            pieces[0],
            frames_wanted=self.frames_wanted,
            frames=np.concatenate(pictures) if len(pictures) > 1 else pictures[0],
            **{f"{name}_preview": preview(picture[-1]) for name, picture in controls.items()},
            timings_ms=clock.timings_ms(),
        )

    def flush(self) -> None:
        """Run the clean pass that the last chunk has put off. If it fails, the stream is reset, which the
        next `step` tells."""
        try:
            self._pipeline.flush(self._session)
        except RuntimeError:
            self._forget()
            self._unfinished = "the last chunk could not be finished; stream was reset"
            raise

    @contextmanager
    def _or_fresh(self, pieces: Sequence[ChunkResult]) -> Iterator[None]:
        """A chunk that cannot be generated leaves a fresh stream. Memory that has run out is such a case:
        what others use now may be free for the next chunk."""
        session = self._session
        chunk, generation = session.chunk, session.generation
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            is_full = is_out_of_memory(error)
            if not is_full and not isinstance(error, GenerationFailed):
                raise
            if session.generation == generation:
                session.reset()
            self._forget()
            session.frame += sum(len(piece.frames) for piece in pieces)
            if not is_full:
                raise
            logger.error("Chunk %d of a stream found no memory", chunk, exc_info=error)
            give_back_memory(self._pipeline.device)
            raise GenerationFailed(
                f"chunk {chunk}: the device has no memory left for it; stream was reset"
            ) from error

    def _forget(self) -> None:
        """What was remembered of the scene beside the session."""
        self._depth.reset()
        self._motion_gain, self._noise = AdaptiveScale(), MotionNoise()
        self._had_depth, self._shown = False, None

    def _remember(
        self,
        parameters: StreamParameters,
        motion_gain: AdaptiveScale,
        noise: MotionNoise,
        depths: StreamDepth,
        depth: Depth | None,
    ) -> None:
        """The chunk is there, its first pictures at least: what it was made with is in effect."""
        self._depth = depths
        if depth is not None:
            self._note_non_finite(depth)
            self._depth.keep(depth)
        self._parameters, self._motion_gain, self._noise = parameters, motion_gain, noise
        self._had_depth = depth is not None

    def _fitted(self, frames: Sequence[np.ndarray | SeenFrame], parameters: StreamParameters) -> ChunkFrames:
        shape, device = self._pipeline.shapes.of(parameters.orientation), self._pipeline.device
        return ChunkFrames.fitted(frames, *shape.size, device, parameters.fit)

    def _estimate(
        self, depths: StreamDepth, seen: ChunkFrames, settings: DepthSettings | None, starts_over: bool
    ) -> Depth | None:
        if settings is None:
            return None
        # What was seen before a pause of depth says nothing of the scene after it.
        is_first = starts_over or not self._had_depth
        try:
            return depths(
                seen.pictures,
                settings,
                None if is_first else self._shown,
                estimate=seen.estimate,
                bars=seen.bars,
                starts_over=is_first,
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.error("Depth by %s failed", self._info.depth, exc_info=error)
            raise GenerationFailed(
                f"chunk {self._session.chunk}: depth could not be estimated; stream was reset"
            ) from error

    def _drawn(
        self, camera: Tensor, depth: Depth | None, strengths: Mapping[ControlName, float]
    ) -> dict[ControlName, Tensor]:
        """Pictures (T, H, W) in [-1, 1] of the controls that are on. Depth is on as its settings say, and
        seen by people even where its strength is 0; the others cost nothing there."""
        found: dict[ControlName, Tensor] = {}
        if depth is not None and "depth" in self._info.allowed_controls:
            found["depth"] = depth.values
        if strengths["gray"]:
            found["gray"] = gray_of(camera, self._pipeline.preset.gray)
        if strengths["lines"]:
            found["lines"] = lines_of(camera, self._pipeline.models.scribble)
        return found

    def _generate(
        self,
        parameters: StreamParameters,
        asked: ChunkParameters,
        camera: Tensor,
        controls: Mapping[ControlName, Tensor],
        region: RegionMask | None,
        scale: float,
        noise_scale: float,
        starts_over: bool,
        clock: StageClock,
        decoded: Callable[[Tensor], None],
    ) -> None:
        """Frames (t, H, W, 3) in [0, 1], before the camera is laid over them, go to `decoded`."""
        painted = source = first = None
        strengths: dict[ControlName, float] = {**parameters.strengths, "depth": scale}
        videos = control_videos(self._pipeline.preset.control_videos, controls, strengths)
        if asked.first_picture is not None:
            size = self._pipeline.shapes.of(parameters.orientation).size
            first = fit_frames([asked.first_picture], *size, self._pipeline.device)[0]
        if region is not None or first is not None:
            source = camera.movedim(0, 1)[None]
            painted = region.control(len(camera)) if region else torch.ones_like(source[:, :1])
            if first is not None:
                painted, source = with_first_picture(first, painted, source)
            if not controls:  # mid-grey: paint there, and follow nothing
                # Where depth is not allowed its strength is 0, and would take what is kept away, too.
                strength = scale if "depth" in self._info.allowed_controls else DEFAULT_SCALE
                place = self._pipeline.preset.usable_videos[0]
                videos = (*[None] * place, ControlVideo(torch.zeros_like(painted), strength))
        is_shown = any(video is not None for video in videos)
        mode: GuidanceMode | None = "depth" if is_shown else None
        if parameters.references is not None:
            mode = "depth+r2v" if is_shown else "r2v"
        start = None
        if noise_scale < 1:
            video = camera.movedim(0, 1)[None]
            start = CameraLatents(video, noise_scale, parameters.camera_start.formula)
        is_new = asked.prompts is not None
        transition = asked.transition if is_new else None
        self._pipeline.generate(
            self._session,
            parameters.prompts,
            guidance_mode=mode,
            vace_input=videos if is_shown else None,
            vace_input_masks=painted,
            vace_source=source,
            ref_images=parameters.references,
            references_every_chunk=True,
            vace_context_scale=scale,
            transition="cut" if starts_over else transition,
            blend_chunks=asked.blend_chunks,
            blend_curve=asked.blend_curve,
            sampling=Sampling(parameters.steps, start),
            orientation=parameters.orientation,
            seed=asked.seed if starts_over else None,
            clock=clock,
            decoded=decoded,
        )

    def _note_non_finite(self, depth: Depth) -> None:
        if depth.non_finite and not self._depth.non_finite:
            logger.warning(
                "%s gave depth that is not finite (%d values in one chunk); replaced. Try another --depth",
                self._info.depth,
                depth.non_finite,
            )


def preview(picture: Tensor) -> np.ndarray:
    """A control's picture (H, W) in [-1, 1] -> (72, 128) uint8; of depth near = 255."""
    small = F.interpolate(picture[None, None], size=PREVIEW, mode="bilinear", antialias=True)[0, 0]
    return to_uint8(small).cpu().numpy()
