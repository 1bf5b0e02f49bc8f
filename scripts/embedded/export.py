"""Export of trained networks -> the files that the package ships and `load_models` reads, and back.

    export(models, Path("streaming/embedded"))
    unpack(EMBEDDED, Path("out/train"))

Writes networks and tokenizer; depth estimator, looks, model card and training record go beside them.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from scripts.embedded.checkpoints import save_checkpoint
from streaming.checkpoints.models import Models, load_models
from streaming.checkpoints.presets import PACKAGED_FILES, Preset
from streaming.modules.text_encoder import to_wan_keys

UNPACKED_STEP = 10_000  # where training goes on: late enough for running averages to move slowly


def export(models: Models, folder: Path) -> dict[str, str]:
    """Write `models` into `folder` in half precision; returns the path keys of PipelineConfig.

    Raises ValueError, before anything is written, for a decoder of its own, which the layout has no place
    for, and for a weight that is not finite in half precision.
    """
    if models.decoder is not models.autoencoder:
        raise ValueError("models.decoder must be models.autoencoder: there is one file for both")
    transformer = models.transformer.state_dict()
    states = {
        "generator_path": _half({k: v for k, v in transformer.items() if not k.startswith("vace_")}),
        "vace_path": _half({k: v for k, v in transformer.items() if k.startswith("vace_")}),
        "text_encoder_path": _half(to_wan_keys(models.text_encoder.model.state_dict())),
        "vae_path": _half(models.autoencoder.state_dict()),
    }
    files = {key: folder / name for key, name in PACKAGED_FILES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for key, state in states.items():
        save_file(state, files[key], metadata={"format": "pt"})
        files[key].chmod(0o644)  # safetensors lets nobody else read
    models.text_encoder.tokenizer.save_pretrained(str(files["tokenizer_path"]))
    return {key: str(path) for key, path in files.items()}


def unpack(preset: Preset, out: Path) -> None:
    """Write checkpoints of the weights that `preset` ships below `out`: every stage goes on from them with
    `--resume`, its optimizers' moments at zero."""
    from transformers import AutoModelForDepthEstimation

    models = load_models(preset, preset.files, device=torch.device("cpu"), dtype=torch.float32)
    generator = {"transformer": models.transformer, "text_encoder": models.text_encoder}
    stages: dict[str, Mapping[str, Tensor]] = {
        "autoencoder": models.autoencoder.state_dict(),
        "generator": {
            f"{part}.{name}": value
            for part, network in generator.items()
            for name, value in network.named_parameters()
        },
        "depth-checkpoint": dict(
            AutoModelForDepthEstimation.from_pretrained(preset.depth, dtype=torch.float32).named_parameters()
        ),
    }
    for stage, state in stages.items():
        tensors = {f"{role}.{name}": value for role in ("model", "ema") for name, value in state.items()}
        save_checkpoint(out / stage, tensors, {"step": UNPACKED_STEP})


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` on the host in float16, tensors of their own."""
    halved: dict[str, Tensor] = {}
    for key, value in state.items():
        halved[key] = value.detach().to("cpu", torch.float16, copy=True).contiguous()
        if not torch.isfinite(halved[key]).all():
            raise ValueError(f"{key} must be finite in float16, its largest magnitude is {value.abs().max()}")
    return halved
