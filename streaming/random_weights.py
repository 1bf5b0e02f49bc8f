"""A preset's real networks with drawn weights: as fast as trained ones, and nothing to download."""

import tempfile

import torch

from streaming.checkpoints.models import Models, random_models
from streaming.checkpoints.presets import Preset
from streaming.depth.estimators import DepthEstimator, load_depth
from streaming.pipeline import LongLivePipeline

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


def random_depth(device: torch.device, dtype: torch.dtype) -> DepthEstimator:
    """Depth-Anything-V2-Small with random weights, always the same ones, through the same loader as the
    published one."""
    import transformers

    config = transformers.DepthAnythingConfig(**DEPTH_SMALL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.DepthAnythingForDepthEstimation(config)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        transformers.DPTImageProcessor(**DEPTH_PROCESSOR).save_pretrained(folder)
        return load_depth(folder, device, dtype)
