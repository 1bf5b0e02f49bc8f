"""Camera pictures in, generated pictures out: depth and pipeline together, with `uint8` arrays at the border.

    engine = StreamEngine.load(model="embedded")
    engine.warm_up()
    stream = engine.open(prompt="a statue of molten gold", seed=0)
    result = stream.step(pictures, Controls())        # `stream.frames_wanted` pictures, oldest first

One thread calls everything here; it owns the device.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from streaming.blocks.text_conditioning import parse_prompts
from streaming.config import CHUNK_LATENTS, PipelineConfig, TaehvConfig
from streaming.depth import DepthEstimator, DepthRange, load_depth
from streaming.frames import fit_frames
from streaming.hub import OnProgress, pull
from streaming.looks import Look, load_looks
from streaming.pipeline import GenerationFailed, LongLivePipeline, Transition
from streaming.preflight import check, free_memory, needs
from streaming.presets import find_preset
from streaming.session import StreamSession
from streaming.stage_clock import StageClock

logger = logging.getLogger(__name__)

__all__ = ["ChunkResult", "Controls", "EngineInfo", "GenerationFailed", "LiveStream", "StreamEngine"]

Decoder = Literal["vae", "taehv"]
FIRST_CHUNK, CHUNK = 9, 12  # frames: latent 0 stands for one, every later latent for four


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs, for people and clients."""

    model: str
    trained: bool  # False: seeded random weights; say so wherever the model is named
    depth: str
    device: str
    dtype: str
    width: int
    height: int
    steps: int
    about: str  # the trained weights, in a few words; may be empty
    looks: tuple[Look, ...]  # prompts that the model knows well; may be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What changes before a chunk; None and False leave things as they are."""

    prompt: str | None = None
    transition: Transition = "recache"
    guidance_scale: float | None = None  # 0 ... 2
    reset: bool = False  # hard reset that keeps the prompt
    seed: int | None = None  # for a reset

    def __post_init__(self) -> None:
        if self.guidance_scale is not None and not 0 <= self.guidance_scale <= 2:
            raise ValueError(f"guidance_scale must be 0 ... 2, got {self.guidance_scale}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    frames: np.ndarray  # (T, height, width, 3) uint8 RGB
    chunk: int  # index since the last hard reset
    first_frame: int  # index of frames[0] since the stream was opened
    generation: int  # rises with every hard reset
    timings_ms: dict[str, float] = field(default_factory=dict)  # by stage, and "total"


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU. Raises ValueError for a device that is not here."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        there = ", ".join(device for device, yes in available.items() if yes)
        raise ValueError(f"device {name!r} is not available here; available: auto, {there}")
    return torch.device(name)


def _decoder(name: Decoder) -> TaehvConfig | None:
    return TaehvConfig() if name == "taehv" else None


class StreamEngine:
    """The models of one device and everything that streams share."""

    def __init__(self, pipeline: LongLivePipeline, estimator: DepthEstimator, depth: str) -> None:
        """Raises LooksError when the preset's looks cannot be read."""
        self.pipeline = pipeline
        self.estimator = estimator
        preset = pipeline.preset
        self.info = EngineInfo(
            model=preset.name,
            trained=pipeline.models.trained,
            depth=depth,
            device=str(pipeline.device),
            dtype=str(pipeline.dtype).removeprefix("torch."),
            width=preset.width,
            height=preset.height,
            steps=len(preset.sampler.denoising_step_list),
            about=preset.about if pipeline.models.trained else "",
            looks=load_looks(preset.folder) if preset.folder else (),
        )

    @classmethod
    def load(
        cls,
        *,
        model: str,
        depth: str = "auto",
        decoder: Decoder = "vae",
        device: str = "auto",
        seed: int = 0,
        sessions: int = 1,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Slow. `model` is a preset; files that it needs and that are not here are downloaded first.

        `depth` is `edges`, a model id or folder for transformers, or `auto`, what the preset names.
        `sessions` is how many streams the memory must hold. `on_progress` hears of downloads. Raises
        ValueError or OSError whose text a user can act on, before anything large is loaded or fetched where
        the memory cannot hold it.
        """
        where, preset = choose_device(device), find_preset(model)
        dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
        estimator = preset.depth if depth == "auto" else depth
        if preset.needs_files:
            wanted = needs(preset, dtype, decoder=_decoder(decoder), depth_model=estimator != "edges")
            check(wanted, where, free=free_memory(where), sessions=sessions)
        unused = {"taehv_path"} if decoder == "vae" else set[str]()
        unused |= set() if depth == "auto" else {"depth"}
        files = {
            role: str(path) for role, path in pull(model, without=unused, on_progress=on_progress).items()
        }
        estimator_files = files.pop("depth", estimator)
        config = PipelineConfig.from_mapping({"base_model_name": model, "seed": seed} | files)
        pipeline = LongLivePipeline(config, where, dtype)
        return cls(pipeline, load_depth(estimator_files, where, dtype), Path(estimator).name)

    def open(self, *, prompt: str, seed: int) -> "LiveStream":
        return LiveStream(self, prompt=prompt, seed=seed)

    def warm_up(self) -> None:
        """Meet what the first real chunks would be slow for.

        On a GPU that is every shape that a stream can have, prompt switch included. A CPU prepares nothing by
        shape and is asked for a first and a later chunk only.
        """
        self.pipeline.control.warm_up()
        size = (self.info.height, self.info.width, 3)
        stream = self.open(prompt="", seed=0)
        # The window is filled and the ring goes round once.
        every_shape = self.pipeline.preset.window.local_attn_size // CHUNK_LATENTS + 2
        for index in range(2 if self.pipeline.device.type == "cpu" else every_shape):
            pictures = [np.full(size, 20 * n, np.uint8) for n in range(stream.frames_wanted)]
            stream.step(pictures, Controls(prompt=f"warming up {index}"))


class LiveStream:
    """One stream: its session, its depth range and what its user asked for. Dropping it frees it."""

    def __init__(self, engine: StreamEngine, *, prompt: str, seed: int) -> None:
        self._engine = engine
        self._session: StreamSession = engine.pipeline.open_session(seed=seed)
        self._range: DepthRange = engine.estimator.new_range()
        self._prompt = prompt
        self._scale = 1.0

    @property
    def frames_wanted(self) -> int:
        return CHUNK if self._session.chunk else FIRST_CHUNK

    @torch.inference_mode()
    def step(self, frames: Sequence[np.ndarray], controls: Controls) -> ChunkResult:
        """Generate one chunk from `frames_wanted` pictures (H, W, 3) uint8 RGB, oldest first, of any size.

        A reset or cut makes this a first chunk again: the newest 9 pictures are used and 9 come back.
        Raises ValueError (bad input, the stream is unharmed) or GenerationFailed (the stream was reset);
        after either, what `controls` asked for has not happened.
        """
        if len(frames) != self.frames_wanted:
            raise ValueError(f"frames: expected {self.frames_wanted} pictures, got {len(frames)}")
        starts_over = controls.reset or (controls.prompt is not None and controls.transition == "cut")
        prompt = self._prompt if controls.prompt is None else controls.prompt
        scale = self._scale if controls.guidance_scale is None else controls.guidance_scale
        before = self._engine.estimator.new_range() if starts_over else self._range
        clock, first_frame = StageClock(self._engine.pipeline.device), self._session.frame
        with clock.stage("total"):
            with clock.stage("depth"):
                depth, after = self._depth(frames[-FIRST_CHUNK:] if starts_over else frames, before)
            try:
                video = self._engine.pipeline.generate(
                    self._session,
                    parse_prompts(prompt),
                    guidance_mode="depth",
                    vace_input=depth,
                    vace_context_scale=scale,
                    transition="cut" if starts_over else "recache",
                    seed=controls.seed if controls.reset else None,
                    clock=clock,
                )
            except GenerationFailed:
                self._range = self._engine.estimator.new_range()
                raise
            pictures = (video * 255).round_().to(torch.uint8).cpu().numpy()
        self._prompt, self._scale, self._range = prompt, scale, after
        return ChunkResult(
            frames=np.ascontiguousarray(pictures),
            chunk=self._session.chunk - 1,
            first_frame=first_frame,
            generation=self._session.generation,
            timings_ms=clock.timings_ms(),
        )

    def _depth(self, frames: Sequence[np.ndarray], before: DepthRange) -> tuple[Tensor, DepthRange]:
        """Pictures -> depth (1, 1, T, H, W) in [-1, 1], near = +1, and the range for the next chunk."""
        info = self._engine.info
        video = fit_frames(frames, info.height, info.width, self._engine.pipeline.device)
        depth, after = before.normalise(self._engine.estimator.estimate(video))
        if after.non_finite and not before.non_finite:
            logger.warning(
                "%s gave depth that is not finite (%d values in one chunk); replaced. Try another --depth",
                info.depth,
                after.non_finite,
            )
        return depth[None, None], after
