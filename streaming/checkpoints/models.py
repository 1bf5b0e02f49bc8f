"""The networks of one preset on one device, shared by every session of the process."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from streaming.checkpoints.presets import AutoencoderConfig, Preset
from streaming.checkpoints.weights import (
    Lora,
    State,
    WeightsError,
    generator_state,
    load_into,
    lora_file,
    plain_state,
    require_keys,
    require_shape,
    taehv_state,
    vace_state,
)
from streaming.config import PUBLISHED_VACE_IN_DIM, ConfigError, WanConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.scribble import ScribbleNetwork
from streaming.modules.taehv import TAEHV, run_layers
from streaming.modules.text_encoder import TextEncoder, to_wan_keys
from streaming.modules.wan_vae import WanVAE, WanVaeConfig

logger = logging.getLogger(__name__)

Autoencoder = TAEHV | WanVAE


class VideoDecoder(Protocol):
    """A pure function of (latents, cache), cache None at a stream's start."""

    def decode(self, latents: Tensor, cache: Any, /) -> tuple[Tensor, Any]:
        """Latents (B, F, C, h, w) -> video (B, T, 3, H, W) in about [-1, 1], and the next cache."""
        ...


@dataclass(frozen=True, slots=True)
class Models:
    transformer: CausalVaceWanModel
    autoencoder: Autoencoder  # encodes control
    decoder: Autoencoder  # the same object unless the preset has a decoder of its own
    text_encoder: TextEncoder
    trained: bool  # False: seeded random weights, good for speed and for tests of the path, not for looks
    scribble: ScribbleNetwork | None = None  # draws the control "lines"; None: filters do


def random_models(preset: Preset, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Models:
    """Networks with weights drawn from `seed`, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Bytes as tokens: the one tokenizer that needs no file.
        models = _build(preset, ByT5Tokenizer(), trained=False)
        if isinstance(models.decoder, TAEHV):
            _give_contrast(models.decoder)
    for module in _modules(models):
        module.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return models


def load_models(
    preset: Preset, files: Mapping[str, str], *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> Models:
    """Networks with published weights; `files` has the path keys of PipelineConfig.

    Tensors go one at a time from the mapped file to `device` and `dtype`. A branch for 16 control channels
    has no published patch embedding and gets one drawn from `seed`. Raises ConfigError for a file that is not
    named and WeightsError for one that is not there, cannot be read or does not fit.
    """
    needed = ["generator_path", "vace_path", "text_encoder_path", "tokenizer_path", "vae_path"]
    if missing := [name for name in needed if name not in files]:
        raise ConfigError(f"{preset.name} needs {missing[0]}; given: {', '.join(sorted(files)) or 'none'}")
    with torch.device("meta"):
        models = _build(preset, _tokenizer(files["tokenizer_path"]), trained=True)
        if "scribble_path" in files:
            models = replace(models, scribble=ScribbleNetwork())

    def fill(
        module: nn.Module, name: str, state: State, only: str | None = None, lora: Lora | None = None
    ) -> None:
        load_into(module, state, where=files[name], device=device, dtype=dtype, only=only, lora=lora)

    transformer, is_published = models.transformer, preset.transformer.vace_in_dim == PUBLISHED_VACE_IN_DIM
    lora = lora_file(files["lora_path"]) if "lora_path" in files else None
    if lora is None and preset.needs_files:
        logger.warning("%s without lora_path: its base alone, if not merged, is not LongLive", preset.name)
    fill(transformer, "generator_path", generator_state(files["generator_path"]), r"(?!vace_)", lora)
    branch = vace_state(files["vace_path"], patch_embedding=is_published)
    fill(transformer, "vace_path", branch, "vace_" if is_published else "vace_blocks")
    if not is_published:
        transformer.vace_patch_embedding = _drawn_patch_embedding(preset.transformer, seed).to(dtype)
    fill(models.autoencoder, "vae_path", plain_state(files["vae_path"]))
    if isinstance(models.decoder, TAEHV) and "taehv_path" in files:
        fill(models.decoder, "taehv_path", taehv_state(files["taehv_path"], models.decoder))
    if models.scribble is not None:
        fill(models.scribble, "scribble_path", plain_state(files["scribble_path"]))
    text = _text_state(files["text_encoder_path"], models.text_encoder, device)
    models.text_encoder.load_wan_weights(text, dtype=dtype)
    for module in _modules(models):
        module.to(device).eval().requires_grad_(False)
    return models


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    """From a folder or by its id. Raises WeightsError."""
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        # transformers takes a folder that is not there for an id, and complains of its form
        said = error if Path(name).is_dir() else f"no such folder; {error}"
        raise WeightsError(f"{name}: cannot be read as a tokenizer ({said})") from error


def _text_state(path: str, encoder: TextEncoder, device: torch.device) -> State:
    """umT5 in Wan's names, fp8 or not, on `device`."""
    state, shapes = plain_state(path), to_wan_keys(encoder.model.state_dict())
    require_keys(shapes, state, path)
    on_device: dict[str, Tensor] = {}
    for key, like in shapes.items():
        on_device[key] = state[key].to(device)
        require_shape(key, on_device[key], like.shape, path)
    return on_device


def _build(preset: Preset, tokenizer: PreTrainedTokenizerBase, *, trained: bool) -> Models:
    autoencoder = _autoencoder(preset.autoencoder)
    return Models(
        transformer=CausalVaceWanModel(preset.transformer),
        autoencoder=autoencoder,
        decoder=autoencoder if preset.decoder is None else _autoencoder(preset.decoder),
        text_encoder=TextEncoder(
            preset.text,
            dim=preset.transformer.text_dim,
            text_len=preset.transformer.text_len,
            tokenizer=tokenizer,
        ),
        trained=trained,
    )


def _autoencoder(config: AutoencoderConfig) -> Autoencoder:
    return WanVAE(config) if isinstance(config, WanVaeConfig) else TAEHV(config)


def _drawn_patch_embedding(config: WanConfig, seed: int) -> nn.Conv3d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Conv3d(config.vace_in_dim, config.dim, config.patch_size, stride=config.patch_size)


def _modules(models: Models) -> tuple[nn.Module, ...]:
    networks = (models.transformer, models.autoencoder, models.decoder, models.text_encoder)
    return networks if models.scribble is None else (*networks, models.scribble)


@torch.no_grad()
def _give_contrast(autoencoder: TAEHV) -> None:
    """Scale an untrained decoder's last layer so that noise shows as mid-grey noise, not as a black
    picture."""
    last = autoencoder.decoder[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    before_last = nn.Sequential(*list(autoencoder.decoder)[:-1])
    noise = torch.randn(1, 1, autoencoder.config.latent_channels, 16, 16)
    features, _ = run_layers(before_last, noise.movedim(2, -1), None)
    features = features.flatten(0, 1).movedim(-1, 1)
    last.weight.mul_(0.3 / last(features).std((0, 2, 3)).mean())
    last.bias.sub_(last(features).mean((0, 2, 3)) - 0.5)
