"""Configurations of models, frozen and checked. No torch here; presets are data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

PUBLISHED_VACE_IN_DIM = 96  # 16 inactive + 16 reactive + 64 mask channels
MAX_TIMESTEP = 1000  # pure noise
MAX_SIDE = 4096  # pixels of a picture: more is a slip of the pen, and memory without end
CHUNK_LATENTS = 3  # latents denoised together; what LongLive was trained with ("num_frame_per_block")


class ConfigError(ValueError):
    """A configuration that cannot work; the text names the field, the value and what was expected."""


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ConfigError(text)


def parse_size(text: str) -> tuple[int, int]:
    """ "832x480" -> (832, 480), width and height in pixels. Raises ConfigError for another text."""
    width, _, height = text.strip().lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) <= 16):
        raise ConfigError(f"size must be WIDTHxHEIGHT in pixels, as in 832x480, got {text[:50]!r}")
    return int(width), int(height)


def check_size(model: str, width: int, height: int, steps: tuple[int, int]) -> None:
    """Raises ConfigError unless both are multiples of `steps` (of width, of height) up to MAX_SIDE; the text
    has the nearest sizes that are."""
    of_steps = tuple(zip((width, height), steps, strict=True))
    if all(side in range(step, MAX_SIDE + 1, step) for side, step in of_steps):
        return
    sides = [_multiples(side, step) for side, step in of_steps]
    nearest = dict.fromkeys(f"{wide}x{high}" for wide, high in zip(*sides, strict=True))
    expected = f"{steps[0]} wide and {steps[1]} high" if steps[0] != steps[1] else f"{steps[0]}"
    raise ConfigError(
        f"size of {model} must be multiples of {expected}, up to {MAX_SIDE}, got {width}x{height}; "
        f"nearest: {', '.join(nearest)}"
    )


def _multiples(side: int, step: int) -> tuple[int, int]:
    """The multiples of `step` about `side`, or it twice if it is one."""
    side = min(max(side, step), MAX_SIDE // step * step)
    return side // step * step, -(-side // step) * step


def published_fields(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a published `config.json` says about the fields of dataclass `cls`; other keys are not for it."""
    known = {field.name for field in fields(cls)}
    return {key: _frozen(value) for key, value in config.items() if key in known}


def _frozen(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class WanConfig:
    """Wan 2.1 transformer. Field names are those of the published `config.json`."""

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    freq_dim: int
    text_dim: int
    text_len: int
    in_dim: int = 16
    out_dim: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)
    qk_norm: bool = True
    cross_attn_norm: bool = True
    eps: float = 1e-6
    vace_layers: tuple[int, ...] = ()
    vace_in_dim: int = 96

    def __post_init__(self) -> None:
        _require(
            self.dim % self.num_heads == 0, f"dim {self.dim} must be a multiple of num_heads {self.num_heads}"
        )
        _require(self.head_dim % 2 == 0, f"head size {self.head_dim} (dim / num_heads) must be even")
        _require(self.freq_dim % 2 == 0, f"freq_dim must be even, got {self.freq_dim}")
        _require(self.patch_size[0] == 1, f"patch_size must keep time, (1, h, w), got {self.patch_size}")
        layers = self.vace_layers
        _require(
            list(layers) == sorted(set(layers)) and all(0 <= n < self.num_layers for n in layers),
            f"vace_layers must rise and lie below num_layers {self.num_layers}, got {layers}",
        )

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @classmethod
    def from_published(cls, config: Mapping[str, Any]) -> Self:
        """From a published `config.json` (or a parity case)."""
        return cls(**published_fields(cls, config))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """What attention sees of the past, in latents."""

    local_attn_size: int = 12
    sink_size: int = 3
    relative: bool = True  # positions relative to the window: a stream never runs out of them

    def __post_init__(self) -> None:
        _require(
            0 <= self.sink_size < self.local_attn_size,
            f"sink_size must be 0 ... local_attn_size - 1 ({self.local_attn_size - 1}), got {self.sink_size}",
        )

    @property
    def ring_size(self) -> int:
        return self.local_attn_size - self.sink_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """Few-step flow matching. `denoising_step_list` is nominal; warping gives the distilled timesteps."""

    denoising_step_list: tuple[int, ...] = (1000, 750, 500, 250)
    timestep_shift: float = 5.0
    warp_denoising_step: bool = True

    def __post_init__(self) -> None:
        steps = self.denoising_step_list
        _require(
            len(steps) > 0
            and all(0 < s <= MAX_TIMESTEP for s in steps)
            and list(steps) == sorted(set(steps), reverse=True),
            f"denoising_step_list must fall within {MAX_TIMESTEP} ... 1, got {steps}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaehvConfig:
    """Tiny causal autoencoder; the defaults are `taew2_1`. Channels are listed from the input to the output
    side."""

    latent_channels: int = 16
    patch_size: int = 1
    encoder_channels: tuple[int, int, int, int] = (64, 64, 64, 64)
    decoder_channels: tuple[int, int, int, int] = (256, 128, 64, 64)
    encoder_time_downscale: tuple[bool, bool, bool] = (True, True, False)
    encoder_space_downscale: tuple[bool, bool, bool] = (True, True, True)
    decoder_time_upscale: tuple[bool, bool, bool] = (False, True, True)
    decoder_space_upscale: tuple[bool, bool, bool] = (True, True, True)

    def __post_init__(self) -> None:
        for kind in ("time", "space"):
            down, up = getattr(self, f"encoder_{kind}_downscale"), getattr(self, f"decoder_{kind}_upscale")
            _require(sum(down) == sum(up), f"encoder and decoder must agree in {kind}, got {down} and {up}")

    @property
    def time_stride(self) -> int:
        """Frames of a latent (the first latent of a stream decodes to one)."""
        return 2 ** sum(self.encoder_time_downscale)

    @property
    def space_stride(self) -> int:
        return self.patch_size * 2 ** sum(self.encoder_space_downscale)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """umT5 encoder. Field names are those of `transformers.UMT5Config`; `text_len` and `dim` come from
    WanConfig."""

    vocab_size: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """`LongLivePipeline`'s configuration, with the key names of the feature document. Paths may be left
    out."""

    model_dir: str | None = None
    generator_path: str | None = None
    lora_path: str | None = None
    vace_path: str | None = None
    text_encoder_path: str | None = None
    vae_path: str | None = None
    taehv_path: str | None = None  # decode with TAEHV instead of the VAE
    taehv_encodes: bool = False  # control too
    tokenizer_path: str | None = None
    scribble_path: str | None = None  # VACE's network that draws the control "lines"; None: filters do
    base_model_name: str = "embedded"
    vace_in_dim: int = PUBLISHED_VACE_IN_DIM
    height: int | None = None  # None: the model's own size
    width: int | None = None
    controls: tuple[str, ...] | None = None  # that streams may ask for: each costs memory; None: all
    turns: bool = True  # streams may be upright, at the price of some memory
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            self.vace_in_dim in (16, 96), f"vace_in_dim must be 96 (or 16, untrained), got {self.vace_in_dim}"
        )
        _require(not self.taehv_encodes or bool(self.taehv_path), "taehv_encodes needs taehv_path, got none")

    @property
    def weight_paths(self) -> dict[str, str]:
        """The weight files that were named. The document names no VAE: then it lies in `model_dir`."""
        names = [field.name for field in fields(self) if field.name.endswith("_path")]
        named = {name: getattr(self, name) for name in names if getattr(self, name)}
        if named and self.model_dir:
            named.setdefault("vae_path", str(Path(self.model_dir, "Wan2.1-T2V-1.3B", "Wan2.1_VAE.pth")))
        return named

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """From a dict or an OmegaConf config as the feature document shows it. Unknown keys are errors."""
        given = dict(config)
        model = dict(given.pop("model_config", {}))
        given |= dict(model.pop("base_model_kwargs", {})) | model
        known = {field.name for field in fields(cls)}
        if unknown := sorted(given.keys() - known):
            raise ConfigError(
                f"unknown configuration key {unknown[0]!r}; known keys: {', '.join(sorted(known))}"
            )
        return cls(**given)
