"""Camera pictures in, generated pictures out: depth and pipeline together, with `uint8` arrays at the border.

    engine = StreamEngine.load(model="embedded")
    engine.warm_up()
    stream = engine.open(prompt="a statue of molten gold", seed=0)
    result = stream.step(pictures, Controls())        # `stream.frames_wanted` pictures, oldest first
    engine.settle()                                   # once they are on their way

One thread calls everything here; it owns the device.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch

from streaming.blocks.reference_images import MAX_REFERENCES
from streaming.blocks.text_conditioning import Prompts, parse_prompts
from streaming.config import CHUNK_LATENTS, PipelineConfig, TaehvConfig
from streaming.controls import ChunkResult, Controls
from streaming.depth import DepthEstimator, load_depth
from streaming.depth_settings import DepthSettings
from streaming.hub import OnProgress, pull
from streaming.live_stream import CHUNK, FIRST_CHUNK, LiveStream
from streaming.looks import Look, load_looks
from streaming.pipeline import GenerationFailed, LongLivePipeline
from streaming.precision import Precision, choose_dtype
from streaming.preflight import check, free_memory, needs
from streaming.presets import find_preset

__all__ = [
    "CHUNK",
    "FIRST_CHUNK",
    "ChunkResult",
    "Controls",
    "DepthSettings",
    "EngineInfo",
    "GenerationFailed",
    "LiveStream",
    "StreamEngine",
]

Decoder = Literal["vae", "taehv"]


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
        precision: Precision = "auto",
        seed: int = 0,
        sessions: int = 1,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Slow. `model` is a preset; files that it needs and that are not here are downloaded first.

        `depth` is `edges`, a model id or folder for transformers, or `auto`, what the preset names.
        `precision` is the type of weights and activations, see `choose_dtype`.
        `sessions` is how many streams the memory must hold. `on_progress` hears of downloads. Raises
        ValueError or OSError whose text a user can act on, before anything large is loaded or fetched where
        the memory cannot hold it.
        """
        where, preset = choose_device(device), find_preset(model)
        dtype = choose_dtype(precision, where)
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

    def open(self, *, prompt: Prompts, seed: int) -> LiveStream:
        return LiveStream(self, prompt=prompt, seed=seed)

    def settle(self) -> None:
        """Finish what the last chunk of any stream left undone. Its pictures need not wait for this; the next
        `step` would begin with it."""
        self.pipeline.settle()

    def warm_up(self) -> None:
        """Meet what the first real chunks would be slow for.

        On a GPU that is every shape that a stream can have: prompt switch, region and references included. A
        CPU prepares nothing by shape and is asked for a first and a later chunk only.
        """
        self.pipeline.control.warm_up()
        size = (self.info.height, self.info.width)
        stream = self.open(prompt="", seed=0)
        if self.pipeline.device.type == "cpu":
            extras: list[Controls] = [Controls(), Controls()]
        else:
            # The window is filled and the ring goes round once.
            extras = [Controls()] * (self.pipeline.preset.window.local_attn_size // CHUNK_LATENTS + 2)
            mask = np.full(size, 255, np.uint8)
            mask[: size[0] // 2] = 0
            picture = np.full((*size, 3), 127, np.uint8)
            extras += [Controls(mask=mask)]
            extras += [Controls(references=(picture,) * count) for count in range(1, MAX_REFERENCES + 1)]
        for index, extra in enumerate(extras):
            pictures = [np.full((*size, 3), 20 * n, np.uint8) for n in range(stream.frames_wanted)]
            stream.step(pictures, replace(extra, prompts=parse_prompts(f"warming up {index}")))
