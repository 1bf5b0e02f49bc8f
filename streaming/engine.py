"""Camera pictures in, generated pictures out: depth and pipeline together, with `uint8` arrays at the border.

    engine = StreamEngine.load(model="embedded")
    engine.warm_up()
    stream = engine.open(prompt="a statue of molten gold", seed=0)
    result = stream.step(pictures, ChunkParameters()) # `stream.frames_wanted` pictures, oldest first
    engine.flush()                                   # once they are on their way

One thread calls everything here; it owns the device.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from weakref import WeakSet

import numpy as np
import torch

from streaming.acceleration import Optimizations, optimizations_for
from streaming.api import (
    CHUNK,
    SEEN_TOGETHER,
    ChunkParameters,
    ControlStrengths,
    Decoder,
    EngineInfo,
    GenerationFailed,
    Gpus,
    Precision,
    Speed,
)
from streaming.blocks.text_conditioning import Prompts, parse_prompts
from streaming.checkpoints.looks import load_looks
from streaming.checkpoints.memory import check, fits, free_memory, needs
from streaming.checkpoints.precision import choose_dtype
from streaming.checkpoints.presets import find_preset
from streaming.config import CHUNK_LATENTS, PipelineConfig, TaehvConfig
from streaming.depth.estimators import DepthEstimator, load_depth
from streaming.following import Recipe
from streaming.gpu.compilation import keep_compiled
from streaming.gpu.compile_cache import compile_cache
from streaming.gpu.memory import give_back_memory, is_out_of_memory
from streaming.hub.pull import OnProgress, pull
from streaming.parallel.launch import launched
from streaming.pipeline import LongLivePipeline, device_named
from streaming.random_weights import TAEHV_DRAWN, RandomPipeline, random_depth
from streaming.snapshot import StreamSnapshot
from streaming.stream import LiveStream

logger = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then the CPU. Raises ValueError for another, or one that is not here. MPS has no
    float64, which the clean estimate and the time embedding are computed in."""
    available = {"cuda": torch.cuda.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        there = ", ".join(device for device, yes in available.items() if yes)
        raise ValueError(f"device {name!r} is not available here; available: auto, {there}")
    return device_named(name)


def number_of_ranks(gpus: Gpus, name: str, device: torch.device) -> int:
    """How many GPUs work on a stream together, `auto`: all that are visible. `device` is what `name` was
    chosen to be. Raises ValueError for more than there are."""
    if device.type != "cuda":
        if gpus != "auto" and gpus > 1 and name != device.type:
            raise ValueError(
                f"gpus: expected 1 or auto, there is no GPU here, got {gpus}; "
                "with device cpu so many processes are started, for tests"
            )
        return 1 if gpus == "auto" else gpus
    if device.index:  # ranks are on the first ones
        if gpus not in (1, "auto"):
            raise ValueError(f"gpus: expected 1 with device {name}, got {gpus}; device cuda takes several")
        return 1
    visible = torch.cuda.device_count()
    if gpus != "auto" and gpus > visible:
        raise ValueError(f"gpus: expected auto or at most {visible}, which are visible here, got {gpus}")
    return visible if gpus == "auto" else gpus


def optimizations_of(
    speed: Speed, device: torch.device, dtype: torch.dtype, cache_dir: Path | None
) -> Optimizations | None:
    """What a GPU runs with, and a place for what it compiles; elsewhere optimizations give nothing."""
    if device.type != "cuda":
        return None
    if (kept := compile_cache(cache_dir)) is not None:
        keep_compiled(kept)
    return optimizations_for(speed, device, dtype)


class StreamEngine:
    """The models of one device and everything that streams share."""

    def __init__(
        self, pipeline: LongLivePipeline, estimator: DepthEstimator, depth: str, sessions: int = 1
    ) -> None:
        """Raises LooksError when the preset's looks cannot be read."""
        self._sessions = sessions
        self._streams = WeakSet[LiveStream]()
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
            steps=preset.sampler.denoising_step_list,
            about=preset.about if pipeline.models.trained else "",
            looks=load_looks(preset.folder) if preset.folder else (),
            controls=tuple(
                (name, value) for name, value in preset.controls if name in preset.allowed_controls
            ),
            allowed_controls=preset.allowed_controls,
            can_turn=pipeline.shapes.can_turn,
        )

    @classmethod
    def load(
        cls,
        *,
        model: str,
        size: tuple[int, int] | None = None,
        depth: str = "auto",
        speed: Speed = "exact",
        decoder: Decoder = "auto",
        device: str = "auto",
        gpus: Gpus = 1,
        precision: Precision = "auto",
        controls: Sequence[str] | None = None,
        scribble: Path | None = None,
        random_weights: bool = False,
        cache_dir: Path | None = None,
        seed: int = 0,
        sessions: int = 1,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Slow. `model` is a preset; files that it needs and that are not here are downloaded first. `size`:
        width and height of the pictures, None: the preset's. Streams may be turned where there is memory for
        that.

        `depth` is `edges`, a model id or folder for transformers, or `auto`, what the preset names.
        `speed`: `exact`, or `fast`: TAEHV encodes and decodes unless `decoder` says otherwise, and on a GPU
        products and attention are fp8. `gpus` work on a stream together, see `number_of_ranks`: this process
        starts one for each further GPU. `precision` is the type of weights and activations, see
        `choose_dtype`. `controls` are those that streams may ask for, None: all; the memory must hold a state
        of each. `scribble` is the published file of the network that draws the control "lines":
        without it, and with random weights, filters do. `random_weights`: drawn from `seed`, for benchmarks
        without downloads. `cache_dir` keeps what a GPU's start compiles, see `compile_cache`. `sessions` is
        how many streams the memory must hold. `on_progress` hears of downloads. Raises ValueError or OSError
        whose text a user can act on, before anything large is loaded or fetched where the memory cannot hold
        it.
        """
        where, preset = choose_device(device), find_preset(model)
        preset = preset.with_size(size)
        preset = preset if controls is None else preset.with_controls(controls)
        dtype = choose_dtype(precision, where)
        estimator = preset.depth if depth == "auto" else depth
        ranks_wanted = number_of_ranks(gpus, device, where)
        is_tiny = decoder == "taehv" or (decoder == "auto" and speed == "fast")
        turns = True
        if preset.needs_files:
            tiny, free = TaehvConfig() if is_tiny else None, free_memory(where)
            wanted = needs(preset, dtype, decoder=tiny, depth_model=estimator != "edges")
            check(wanted, where, free=free, sessions=sessions)
            turns = fits(wanted.with_turning(), where, free=free, sessions=sessions)
            if not turns:
                logger.warning("%s: no stream can be turned upright, there is no memory for that", model)
        estimator_files = estimator
        config: dict[str, object] = {"base_model_name": model, "seed": seed}
        config |= {"controls": preset.allowed_controls, "turns": turns}
        config |= {"width": preset.width, "height": preset.height}
        config |= {"scribble_path": str(scribble)} if scribble else {}
        config |= {"taehv_encodes": True} if is_tiny and speed == "fast" and preset.needs_files else {}
        kind, files = LongLivePipeline, dict[str, str]()
        if random_weights:
            kind = RandomPipeline
            config |= {"taehv_path": TAEHV_DRAWN} if is_tiny and preset.needs_files else {}
        else:
            unused = set[str]() if is_tiny else {"taehv_path"}
            unused |= set() if depth == "auto" else {"depth"}
            pulled = pull(model, without=unused, on_progress=on_progress)
            files = {str(role): str(path) for role, path in pulled.items()}
            estimator_files = files.pop("depth", estimator)
        depth_of, depth_name = partial(load_depth, estimator_files), Path(estimator).name
        if random_weights and depth == "auto" and preset.needs_files:
            depth_of, depth_name = random_depth, "random weights"
        checked = PipelineConfig.from_mapping(config | files)
        recipe = Recipe(kind, checked, dtype, depth_of, optimizations_of(speed, where, dtype, cache_dir))
        with launched(ranks_wanted, where.type, recipe.follow) as ranks:
            pipeline = recipe.pipeline(where, ranks)
            return cls(pipeline, recipe.estimator(where, ranks), depth_name, sessions)

    def open(self, *, prompt: Prompts, seed: int) -> LiveStream:
        """A new stream. Raises ValueError for a bad prompt, GenerationFailed without memory for it."""

        def begin() -> LiveStream:
            session = self.pipeline.open_session(seed=seed)
            return LiveStream(self.pipeline, self.estimator, self.info, session, prompt=prompt)

        return self._opened(begin)

    def restore(self, parts: Mapping[str, bytes]) -> LiveStream:
        """A stream that goes on where a snapshot of another one was taken, given as its parts. Takes about a
        chunk's time. Raises SnapshotRejected, a ValueError, for parts that are damaged or of another model,
        GenerationFailed without memory for it."""
        snapshot = StreamSnapshot.of_parts(parts)
        return self._opened(lambda: LiveStream.restored(self.pipeline, self.estimator, self.info, snapshot))

    def _opened(self, begin: Callable[[], LiveStream]) -> LiveStream:
        try:
            stream = begin()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            logger.error("A new stream found no memory", exc_info=error)
            give_back_memory(self.pipeline.device)
            raise GenerationFailed("the device has no memory left for another stream") from error
        self._streams.add(stream)
        return stream

    def encode(self, texts: Sequence[str]) -> None:
        """Encode prompts that a stream will soon be asked for: its chunk then finds that done."""
        self.pipeline.text.prefetch(texts)

    def prepare(self) -> bool:
        """Make the next stream's memory ready while none is open, a few tenths of a second of a GPU's time
        that its second user and who already watches need not wait for; False once there is nothing to do."""
        return self.pipeline.prepare_session(self._sessions)

    def flush(self) -> None:
        """Finish what the last chunk of every stream left undone, on the device, too. Its pictures need not
        wait for this; the stream's next `step` would begin with it, and what that is given would be as much
        older."""
        for stream in tuple(self._streams):
            stream.flush()
        self.check_device()

    def memory_bytes(self) -> int:
        """What PyTorch holds of the GPU; 0 on a CPU. Waits for nothing."""
        device = self.pipeline.device
        return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0

    def check_device(self) -> None:
        """Wait for a GPU. Raises RuntimeError if it can do no more work: some CUDA errors do not pass, and a
        rank that is gone (RankLost) does not come back."""
        if self.pipeline.device.type == "cuda":
            torch.cuda.synchronize(self.pipeline.device)
        self.pipeline.ranks.check()

    def warm_up(self) -> float:
        """Warm up the kernels that first chunks would wait for; returns frames a second from then on.

        On a GPU that is all that a stream can do: prompt switch, region, gray beside depth and a reference
        included. More of these use the same kernels, and what their shapes cost once is less than half a
        second. A CPU prepares nothing and is asked for a first and a later chunk only.
        """
        self.pipeline.control.warm_up()
        size, stream = (self.info.height, self.info.width), self.open(prompt="", seed=0)
        is_cpu = self.pipeline.device.type == "cpu"
        # The window is filled, and what it held first leaves it.
        filling = 1 if is_cpu else self.pipeline.preset.window.local_attn_size // CHUNK_LATENTS + 1
        for index in range(filling):
            self._warm_up_chunk(stream, ChunkParameters(prompts=parse_prompts(f"warming up {index}")))
        began = time.perf_counter()
        self._warm_up_chunk(stream, ChunkParameters())  # an ordinary one
        pace = CHUNK / (time.perf_counter() - began)
        if not is_cpu:
            mask = np.full(size, 255, np.uint8)
            mask[: size[0] // 2] = 0
            picture = np.full((*size, 3), 127, np.uint8)
            prompts = parse_prompts("warming up pictures")
            several: ControlStrengths = tuple(
                (name, 1.0) for name in self.info.allowed_controls if name != "lines"
            )
            self._warm_up_chunk(stream, ChunkParameters(controls=several))
            stream.look_ahead([picture] * SEEN_TOGETHER)
            self._warm_up_chunk(stream, ChunkParameters(mask=mask, references=(picture,), prompts=prompts))
        return pace

    def _warm_up_chunk(self, stream: LiveStream, asked: ChunkParameters) -> None:
        """One chunk with its clean pass, so that nothing of it is timed with the next."""
        size, began = (self.info.height, self.info.width, 3), time.perf_counter()
        stream.step([np.full(size, 20 * n, np.uint8) for n in range(stream.frames_wanted)], asked)
        self.flush()
        logger.debug("Warm-up: a chunk in %.2f s", time.perf_counter() - began)
