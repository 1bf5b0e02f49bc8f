"""Engine that is measured: a preset's real networks, with weights that need no download if asked."""

from functools import partial
from typing import Any

import numpy as np
import torch

from streaming.acceleration import Optimizations
from streaming.api import CHUNK
from streaming.checkpoints.presets import Preset, find_preset
from streaming.config import PipelineConfig
from streaming.depth.estimators import load_depth
from streaming.engine import StreamEngine
from streaming.following import Recipe
from streaming.hub.pull import pull
from streaming.parallel.launch import launched
from streaming.pipeline import LongLivePipeline
from streaming.random_weights import TAEHV_DRAWN, RandomPipeline, random_depth


def build(
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    drawn: bool,
    fast: bool,
    size: tuple[int, int] | None = None,
    optimizations: Optimizations | None = None,
    gpus: int = 1,
) -> StreamEngine:
    """`drawn`: random weights; `size`: width and height, None: the preset's; `fast`: TAEHV encodes and
    decodes; `gpus` work on a stream together. Raises as `StreamEngine.load`."""
    preset = find_preset(model).with_size(size)
    depth = random_depth if drawn and preset.needs_files else partial(load_depth, preset.depth)
    named: dict[str, Any] = {"base_model_name": model, "height": preset.height, "width": preset.width}
    if drawn:
        named |= {"taehv_path": TAEHV_DRAWN, "taehv_encodes": True} if fast else {}
        recipe = Recipe(RandomPipeline, PipelineConfig(**named), dtype, depth, optimizations)
    else:
        files: dict[str, Any] = {
            role: str(path) for role, path in pull(model, without=set() if fast else {"taehv_path"}).items()
        }
        files.pop("depth", None)
        if fast and preset.files and "taehv_path" not in files:
            raise ValueError(f"--preset fast: {model} brings no TAEHV decoder; add --random-weights")
        named |= {"taehv_encodes": True} if "taehv_path" in files else {}
        recipe = Recipe(LongLivePipeline, PipelineConfig(**named, **files), dtype, depth, optimizations)
    with launched(gpus, device.type, recipe.follow) as ranks:
        pipeline, estimator = recipe.pipeline(device, ranks), recipe.estimator(device, ranks)
    return StreamEngine(pipeline, estimator, "random" if drawn and preset.needs_files else preset.depth)


def falling_steps(count: int) -> tuple[int, ...]:
    """`count` nominal steps as LongLive spaces them: 4 are 1000, 750, 500, 250."""
    return tuple(round(1000 * (count - index) / count) for index in range(count))


def camera(height: int, width: int) -> list[np.ndarray]:
    """12 pictures (H, W, 3) uint8 of a gradient that moves, with noise."""
    noise = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    pictures: list[np.ndarray] = []
    for index in range(CHUNK):
        ramp = (x * 3 + y * 2 + index * 9) % 200
        picture = ramp[..., None] + noise.integers(0, 56, (height, width, 3))
        pictures.append(picture.astype(np.uint8))
    return pictures


def weight_bytes(engine: StreamEngine) -> int:
    """Bytes of all networks that this process can count without the device's help."""
    models = engine.pipeline.models
    modules = {
        id(m): m for m in (models.transformer, models.autoencoder, models.decoder, models.text_encoder)
    }
    held = (tensor for m in modules.values() for tensor in (*m.parameters(), *m.buffers()))
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def window_chunks(preset: Preset, latents: int) -> int:
    """Chunks after which nothing of a stream's shapes changes: the window full, the ring once around."""
    return -(-preset.window.local_attn_size // latents) + 2
