"""The pipeline of one call a chunk: control and prompts in, frames out.

    pipeline = LongLivePipeline(config, device=device, dtype=torch.bfloat16)
    first = pipeline(prompts="...", guidance_mode="depth", vace_input=depth_chunk)   # (9, H, W, 3) in [0, 1]
    next_ = pipeline(prompts="...", guidance_mode="depth", vace_input=depth_chunk)   # (12, H, W, 3)

A stream's first chunk has 9 frames because latent 0 stands for one frame and every later latent for four.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, get_args

import torch
from torch import Tensor

from streaming.api import (
    DEFAULT_BLEND_CHUNKS,
    DEFAULT_BLEND_CURVE,
    DEFAULT_SCALE,
    MAX_SCALE,
    BlendCurve,
    GenerationFailed,
    Orientation,
    Transition,
    WeightedPrompts,
    check_blend,
)
from streaming.blocks.camera_start import CameraLatents
from streaming.blocks.control_encoders import ControlEncoderState
from streaming.blocks.denoise import Denoiser
from streaming.blocks.prompt_blend import PromptBlend
from streaming.blocks.recache import recache
from streaming.blocks.reference_images import ReferenceImage
from streaming.blocks.text_conditioning import Prompts, TextConditioning, parse_prompts
from streaming.blocks.vace_encoding import Control, GuidanceMode, VaceEncodingBlock
from streaming.checkpoints.models import Models, VideoDecoder, load_models, random_models
from streaming.checkpoints.presets import BASE_MODELS, Preset, find_preset
from streaming.chunk_passes import ChunkInputs, ChunkPasses, PendingCleanPass
from streaming.config import CHUNK_LATENTS, ConfigError, PipelineConfig, TaehvConfig
from streaming.controls.control_videos import ControlVideo
from streaming.gpu.stage_clock import StageClock
from streaming.kv_cache_pool import KVCachePool
from streaming.modules.causal_model import TextContext
from streaming.modules.scheduler import add_noise
from streaming.parallel.ranks import ALONE, Ranks
from streaming.session import StreamSession
from streaming.shapes import Shapes

STEP_LISTS_KEPT = 16  # a sampler's tables are small; the bound is for clients that ask for ever new ones


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """How a chunk is denoised."""

    steps: tuple[int, ...] | None = None  # nominal, falling within 1000 ... 1; None: the model's own
    start: CameraLatents | None = None  # None: pure noise


@dataclass(frozen=True, slots=True)
class Guidance:
    """What all denoising steps of one chunk share."""

    tokens: Tensor  # (N, L, E) embedded controls, each with the references first
    references: Tensor | None  # (1, R, C, h, w) clean latents of new reference pictures
    scales: tuple[float, ...]  # (N,) strength of each control


@dataclass(frozen=True, slots=True)
class _Text:
    """Text of one chunk."""

    context: TextContext
    blend: PromptBlend | None  # under way after this chunk
    recaches: bool  # whether the window is to be recomputed under it first


def _check_asked(scale: float, transition: str | None) -> None:
    if not 0 <= scale <= MAX_SCALE:
        raise ValueError(f"vace_context_scale must be 0 ... {MAX_SCALE:g}, got {scale}")
    if transition is not None and transition not in get_args(Transition):
        *names, last = get_args(Transition)
        raise ValueError(f"transition must be {', '.join(names)} or {last}, got {transition!r}")


def device_named(device: torch.device | str) -> torch.device:
    """Raises ConfigError for a name that torch does not know."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise ConfigError(f"device: expected one as cpu, cuda or cuda:1, got {device!r}") from None


class LongLivePipeline:
    """Weights and one stream of its own. `generate` runs any number of further sessions on the same
    weights."""

    def __init__(
        self,
        config: Mapping[str, Any] | PipelineConfig,
        device: torch.device | str,
        dtype: torch.dtype,
        ranks: Ranks = ALONE,
    ) -> None:
        """`ranks` compute the passes together. Raises ConfigError for a configuration that cannot work."""
        device = device_named(device)
        if not isinstance(dtype, torch.dtype):  # pyright: ignore[reportUnnecessaryIsInstance] -- a name is an easy mistake
            raise ConfigError(f"dtype: expected one of torch, as torch.bfloat16, got {dtype!r}")
        self.config = config if isinstance(config, PipelineConfig) else PipelineConfig.from_mapping(config)
        self.device, self.dtype = device, dtype
        self.preset = self._preset(self.config)
        self.models = self._models(self.preset)
        self.ranks = self.models.transformer.ranks = ranks
        self.text = TextConditioning(self.models.text_encoder.encode, self.models.transformer)
        self.shapes = Shapes(self.preset, self._control_of, turns=self.config.turns)
        self.control = self.shapes.loaded.control
        self.decoder: VideoDecoder = self.models.decoder
        # A third of the pictures after a third of the time; on a GPU that has not been measured to pay.
        self.decodes_by_latent = device.type == "cpu"
        transformer, latent_size = self.models.transformer, self.preset.latent_size
        self._channels = self.preset.transformer.in_dim
        self.passes = ChunkPasses(transformer, latent_size)
        self.new_cache = partial(transformer.new_cache, self.preset.window, *latent_size)  # of one stream
        self._caches = KVCachePool(self.new_cache)
        self.denoise = Denoiser(self.preset.sampler)
        self._denoiser = lru_cache(STEP_LISTS_KEPT)(self._new_denoiser)

    @cached_property
    def session(self) -> StreamSession:
        """The pipeline's own stream, made when it is first asked for: a server never does, and it is
        gigabytes."""
        return self.open_session(seed=self.config.seed)

    @staticmethod
    def _preset(config: PipelineConfig) -> Preset:
        preset = find_preset(BASE_MODELS.get(config.base_model_name, config.base_model_name))
        if config.controls is not None:
            preset = preset.with_controls(config.controls)
        return replace(
            preset,
            height=config.height or preset.height,
            width=config.width or preset.width,
            decoder=TaehvConfig() if config.taehv_path else preset.decoder,
            transformer=replace(preset.transformer, vace_in_dim=config.vace_in_dim),
        )

    def _models(self, preset: Preset) -> Models:
        where, seed = {"device": self.device, "dtype": self.dtype}, self.config.seed
        files = preset.files | self.config.weight_paths  # what the configuration names goes before
        if files or preset.needs_files:
            return load_models(preset, files, seed=seed, **where)
        return random_models(preset, seed=seed, **where)

    def _control_of(self, preset: Preset) -> VaceEncodingBlock:
        return VaceEncodingBlock(
            self.models.decoder if self.config.taehv_encodes else self.models.autoencoder,
            height=preset.height,
            width=preset.width,
            vace_in_dim=self.config.vace_in_dim,
            control_videos=preset.control_videos,
        )

    def _new_denoiser(self, steps: tuple[int, ...]) -> Denoiser:
        return Denoiser(replace(self.preset.sampler, denoising_step_list=steps))

    def open_session(self, *, seed: int, orientation: Orientation = "wide") -> StreamSession:
        """The memory of a new stream; dropping it ends the stream and gives its cache to the next. Raises
        ValueError for an orientation that streams cannot have."""
        grid = self.shapes.of(orientation).grid
        cache = self._caches.acquire()
        cache.reset(grid)
        session = StreamSession(cache, seed)
        weakref.finalize(session, self._caches.release, cache).atexit = False
        return session

    def prepare_session(self, limit: int) -> bool:
        """Make the memory of one more stream ready, captured passes included, while nobody waits for it.

        False, and nothing done: there is memory for `limit` streams, a stream is open, which this would hold
        up, or nothing is captured here, and memory is quickly made.
        """
        if self.passes.capture is None or not self._caches.is_idle or len(self._caches) >= limit:
            return False
        try:
            self.passes.prepare(self._caches.add())
        except BaseException:  # out of memory, most likely: what there is belongs to the first stream
            self._caches.keep_one()
            raise
        return True

    def __call__(
        self,
        prompts: Prompts,
        guidance_mode: GuidanceMode | None = None,
        vace_input: Tensor | None = None,
        ref_images: Sequence[ReferenceImage] | None = None,
        vace_context_scale: float = DEFAULT_SCALE,
        vace_input_masks: Tensor | None = None,
        references_every_chunk: bool = False,
    ) -> Tensor:
        """The next chunk of the pipeline's own stream; the feature document's call. See `generate`."""
        return self.generate(
            self.session,
            parse_prompts(prompts),
            guidance_mode=guidance_mode,
            vace_input=vace_input,
            ref_images=ref_images,
            vace_context_scale=vace_context_scale,
            vace_input_masks=vace_input_masks,
            references_every_chunk=references_every_chunk,
        )

    @torch.inference_mode()
    def generate(
        self,
        session: StreamSession,
        prompts: WeightedPrompts,
        *,
        guidance_mode: GuidanceMode | None = None,
        vace_input: Tensor | Sequence[ControlVideo | None] | None = None,
        ref_images: Sequence[ReferenceImage] | Tensor | None = None,
        references_every_chunk: bool = False,
        vace_input_masks: Tensor | None = None,
        vace_source: Tensor | None = None,
        vace_context_scale: float = DEFAULT_SCALE,
        transition: Transition | None = None,
        blend_chunks: int = DEFAULT_BLEND_CHUNKS,
        blend_curve: BlendCurve = DEFAULT_BLEND_CURVE,
        sampling: Sampling = Sampling(),
        orientation: Orientation | None = None,
        seed: int | None = None,
        clock: StageClock | None = None,
        decoded: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Generate one chunk and advance `session`. Returns (T, H, W, 3) float32 in [0, 1]: 9 frames
        first, then 12.

        `guidance_mode` "depth" takes `vace_input`, depth (1, 1 or 3, T, H, W) in [-1, 1], near = +1: 12
        frames, of which a first chunk uses the newest 9 (9 are accepted there too). Or the control videos of
        the model, each with a scale of its own, in the order of its layout, None where one shows nothing:
        see `control_videos`. Their hints are added. `vace_input_masks` (1, 1, T, H, W) say where to paint (1)
        and where to keep `vace_source` (as `vace_input`, and by default the same) as a picture (0). "r2v"
        takes 1 to 3 `ref_images`, or what `control.encode_references` gave for them, "depth+r2v" both.
        References guide the chunk in which they are new and live on in the stream's memory;
        `references_every_chunk` repeats them. `sampling` is for this chunk alone: its steps, and the camera
        that it starts from.

        A changed prompt takes effect in this chunk. `transition` says how: "recache" (and None) recomputes
        the window under it; "blend" goes there over `blend_chunks` chunks, see `PromptBlend`, and later calls
        with the same prompt and no other transition go on with it ("recache" ends it there); "cut" is a hard
        reset first, with `seed` if one is given. So does another `orientation` than the stream has, whatever
        the transition; sizes of what is given are those of the new one. None leaves it as it is.

        `decoded` is given the frames as they come, some and then the others, before the chunk is finished:
        `session` still speaks of this one.

        Raises ValueError for bad input, before anything has changed, and GenerationFailed. That, and whatever
        else goes wrong in the passes or the decoder, leaves `session` reset.
        """
        _check_asked(vace_context_scale, transition)
        check_blend(blend_chunks, blend_curve)
        denoise = self.denoise if sampling.steps is None else self._denoiser(tuple(sampling.steps))
        mark = clock.stage if clock else lambda _name: nullcontext()
        now = self.shapes.of_grid(session.cache.grid)
        shape = now if orientation is None else self.shapes.of(orientation)
        starts_over = (transition == "cut" or shape is not now) and (session.chunk > 0 or seed is not None)
        before = None if starts_over else session  # what it goes on from
        encode = shape.control
        if before is not None:  # else what it remembers would be forgotten at once
            self.flush(before)
        with mark("encode"):
            text = self._text(before, prompts, transition, blend_chunks, blend_curve)
            control, control_state = encode(
                guidance_mode,
                before.control if before else None,
                vace_input=vace_input,
                vace_input_masks=vace_input_masks,
                vace_source=vace_source,
                ref_images=ref_images,
                vace_context_scale=vace_context_scale,
            )
            camera, camera_state = encode.encode_camera(
                sampling.start.video if sampling.start else None,
                before.camera if before else ControlEncoderState(),
                chunk=before.chunk if before else 0,
            )
            references = control.references if control else None
            known = before.references if before else None
            are_new = references is not None and (references_every_chunk or references is not known)
            guidance = None
            if control is not None and (are_new or guidance_mode != "r2v"):
                guidance = self._guidance(control, with_references=are_new)
        if starts_over:
            session.reset(seed)
        if shape is not now:
            session.cache.reset(shape.grid)
        with session.or_reset():
            with mark("generate"):
                self._take_text(session, prompts, text)
                chunk = self._begin(session, text.context, guidance)
                start = self._noise(session, (1, CHUNK_LATENTS, self._channels, *shape.latent_size))
                if sampling.start is not None and camera is not None:
                    denoise, start = sampling.start.begin(denoise, camera, start)
                latents = self._denoise(session, denoise, start, chunk, guidance)
            frames, session.decoder = self._decode(session, latents, mark, decoded)
        session.pending = PendingCleanPass(chunk, latents)
        session.control, session.camera, session.references = control_state, camera_state, references
        session.advance(latents, len(frames))
        return frames

    def _decode(
        self,
        session: StreamSession,
        latents: Tensor,
        mark: Callable[[str], AbstractContextManager[None]],
        decoded: Callable[[Tensor], None] | None,
    ) -> tuple[Tensor, Any]:
        """Frames (T, H, W, 3) of a chunk, handed to `decoded` as they come, and the decoder's memory
        after them."""
        pieces = latents.split(1, dim=1) if decoded and self.decodes_by_latent else (latents,)
        memory, videos = session.decoder, list[Tensor]()
        for piece in pieces:
            with mark("decode"):
                video, memory = self.decoder.decode(piece, memory)
            if not videos:  # before any of it is handed out; asked earlier, a GPU would stand still
                self._require_finite(session, generate=latents)
                self.ranks.check()  # what waited for a rank that is gone was let go, and has no meaning
            self._require_finite(session, decode=video)
            videos.append((video[0].float() * 0.5 + 0.5).clamp(0, 1).movedim(1, -1))
            if decoded:
                decoded(videos[-1])
        return torch.cat(videos) if len(videos) > 1 else videos[0], memory

    @torch.inference_mode()
    def flush(self, session: StreamSession) -> None:
        """Run the clean pass of the session's last chunk, if that has not happened.

        `generate` puts it off, so that frames need not wait for it. Worth a call once they are on their way:
        the device is idle then. Otherwise the session's next chunk begins with it. If it fails, the session,
        which would remember what is not clean, is reset.
        """
        if (pending := session.pending) is None:
            return
        session.pending = None
        with session.or_reset():
            self.passes.write_clean_kv(pending)

    @torch.inference_mode()
    def recache_ahead(self, session: StreamSession, prompts: WeightedPrompts) -> None:
        """Recompute the window under prompts that the next chunk will have: it need not, then.

        Worth a call while the device waits for camera frames. Changes nothing else: a chunk that has other
        prompts after all, or these by a blend, recomputes the window for those. Does nothing in a stream that
        has not begun, or blends. If it fails, the session, whose window would be half of each, is reset.
        """
        here = session.ahead or session.prompts
        if session.recent is None or session.blend is not None or prompts == here:
            return
        context = self.text(prompts)
        self.flush(session)
        with session.or_reset():
            recache(self.passes.forward, session.recent, context, session.cache)
            self.ranks.check()
        session.ahead = prompts

    def _text(
        self,
        session: StreamSession | None,
        prompts: WeightedPrompts,
        transition: Transition | None,
        chunks: int,
        curve: BlendCurve,
    ) -> _Text:
        """The text of the next chunk of a stream; None: of one that begins. Changes nothing."""
        if session is None or session.recent is None:
            return _Text(self.text(prompts), blend=None, recaches=False)
        blend, was = session.blend, session.prompts
        assert was is not None, "a stream that has begun has a prompt"
        if prompts != was and transition == "blend":
            here = self.text.embedding(was)
            blend = PromptBlend(blend.towards(here) if blend else here, chunks, curve)
        elif prompts != was or transition == "recache":
            blend = None
        if blend is None:
            return _Text(self.text(prompts), None, prompts != was or session.blend is not None)
        blend = blend.advanced()
        if blend.has_arrived:
            return _Text(self.text(prompts), None, recaches=True)
        context = self.text.context_of(blend.towards(self.text.embedding(prompts)))
        return _Text(context, blend, recaches=False)

    def _take_text(self, session: StreamSession, prompts: WeightedPrompts, text: _Text) -> None:
        """Under it from now on, and so what is remembered, where that is to be recomputed."""
        session.prompts, session.blend = prompts, text.blend
        ahead, session.ahead = session.ahead, None
        if session.recent is None or not (text.recaches or ahead is not None):
            return
        if not text.recaches or ahead != prompts:
            recache(self.passes.forward, session.recent, text.context, session.cache)
        session.recached()

    def _guidance(self, control: Control, *, with_references: bool) -> Guidance:
        """Embed the chunk's controls, reference pictures before the frames of each: so VACE was trained."""
        embed = self.models.transformer.embed_control
        if control.references is None or not with_references:
            return Guidance(embed(control.frames, CHUNK_LATENTS), None, control.scales)
        references = control.references.expand(len(control.frames), -1, -1, -1, -1)
        together = torch.cat([references, control.frames], dim=1)
        kept = control.references[:, :, : self._channels]
        return Guidance(embed(together, together.shape[1]), kept, control.scales)

    def _begin(self, session: StreamSession, context: TextContext, guidance: Guidance | None) -> ChunkInputs:
        """Make room for the next chunk. References guide it beside the lasting buffers, see `_denoise`."""
        if guidance is None or guidance.references is not None:
            return self.passes.begin(session.cache, session.latent, context)
        return self.passes.begin(session.cache, session.latent, context, guidance.tokens, guidance.scales)

    def _noise(self, session: StreamSession, shape: Sequence[int]) -> Tensor:
        return torch.randn(shape, generator=session.noise, device=self.device, dtype=self.dtype)

    def _denoise(
        self,
        session: StreamSession,
        denoise: Denoiser,
        start: Tensor,
        chunk: ChunkInputs,
        guidance: Guidance | None,
    ) -> Tensor:
        """Clean latents (1, F, C, h, w) of the next chunk, from `start`, of the same shape."""
        scales = None  # on the device, without a copy from the host, which would wait
        if guidance is not None and guidance.references is not None:
            scales = torch.stack([torch.full((), scale, device=self.device) for scale in guidance.scales])

        def predict_flow(xt: Tensor, timestep: float, sigma: float) -> Tensor:
            if guidance is None or guidance.references is None or scales is None:
                return self.passes.denoise(chunk, xt, timestep)
            noised = add_noise(guidance.references, self._noise(session, guidance.references.shape), sigma)
            return self.passes.forward(
                xt,
                torch.full(start.shape[:2], timestep, device=self.device),
                chunk.context,
                session.cache,
                session.latent,
                control=guidance.tokens,
                control_scale=scales,
                references=noised,
            )

        *_, last = denoise(predict_flow, start, lambda: self._noise(session, start.shape))
        return last.x0

    def _require_finite(self, session: StreamSession, **results: Tensor) -> None:
        for stage, result in results.items():
            if not torch.isfinite(result).all():
                raise GenerationFailed(
                    f"chunk {session.chunk}: {stage} gave values that are not finite; stream was reset"
                )
