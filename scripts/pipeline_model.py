"""The engine that is measured: a preset's real networks, with weights that need no download if asked."""

import tempfile
from typing import Any

import numpy as np
import torch

from streaming.config import PipelineConfig
from streaming.depth import DepthEstimator, load_depth
from streaming.engine import CHUNK, StreamEngine
from streaming.hub import pull
from streaming.models import Models, random_models
from streaming.pipeline import LongLivePipeline
from streaming.presets import Preset, find_preset

TAEHV_DRAWN = "drawn at random"  # stands for a file, so that the configuration asks for TAEHV

# Depth-Anything-V2-Small as published: DINOv2 ViT-S/14, and its processor's settings.
DEPTH_SMALL = {
    "backbone_config": {
        "model_type": "dinov2",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "image_size": 518,
        "patch_size": 14,
        "out_indices": [3, 6, 9, 12],
        "apply_layernorm": True,
        "reshape_hidden_states": False,
    },
    "reassemble_hidden_size": 384,
    "patch_size": 14,
    "neck_hidden_sizes": [48, 96, 192, 384],
    "fusion_hidden_size": 64,
    "head_hidden_size": 32,
}
DEPTH_PROCESSOR = {
    "size": {"height": 518, "width": 518},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_pad": False,
}


class RandomPipeline(LongLivePipeline):
    """The same pipeline with drawn weights, whatever files the preset needs or brings."""

    def _models(self, preset: Preset) -> Models:
        with torch.device(self.device):  # drawn there: billions of weights take minutes on a CPU
            return random_models(preset, device=self.device, dtype=self.dtype, seed=self.config.seed)


def build(
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    drawn: bool,
    fast: bool,
    height: int | None,
    width: int | None,
) -> StreamEngine:
    """`drawn`: random weights; `fast`: TAEHV decodes. Raises ValueError or OSError as `StreamEngine.load`."""
    preset = find_preset(model)
    named: dict[str, Any] = {"base_model_name": model, "height": height, "width": width}
    if drawn:
        named |= {"taehv_path": TAEHV_DRAWN} if fast else {}
        pipeline: LongLivePipeline = RandomPipeline(PipelineConfig(**named), device, dtype)
    else:
        files: dict[str, Any] = {
            role: str(path) for role, path in pull(model, without=set() if fast else {"taehv_path"}).items()
        }
        files.pop("depth", None)
        if fast and preset.files and "taehv_path" not in files:
            raise ValueError(f"--preset fast: {model} brings no TAEHV decoder; add --random-weights")
        pipeline = LongLivePipeline(PipelineConfig(**named, **files), device, dtype)
    estimator = (
        _drawn_depth(device, dtype)
        if drawn and preset.needs_files
        else load_depth(preset.depth, device, dtype)
    )
    return StreamEngine(pipeline, estimator, "random" if drawn and preset.needs_files else preset.depth)


def falling_steps(count: int) -> tuple[int, ...]:
    """`count` nominal steps as LongLive spaces them: 4 are 1000, 750, 500, 250."""
    return tuple(round(1000 * (count - index) / count) for index in range(count))


def _drawn_depth(device: torch.device, dtype: torch.dtype) -> DepthEstimator:
    """Depth-Anything-V2-Small with random weights, through the same loader as the published one."""
    import transformers

    config = transformers.DepthAnythingConfig(**DEPTH_SMALL)
    network = transformers.DepthAnythingForDepthEstimation(config)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        transformers.DPTImageProcessor(**DEPTH_PROCESSOR).save_pretrained(folder)
        return load_depth(folder, device, dtype)


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
