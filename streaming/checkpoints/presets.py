"""Models that this engine knows, as data. A new model is a new entry, never a branch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from streaming.api import (
    CONTROLS,
    DEFAULT_CONTROLS,
    ControlName,
    ControlStrengths,
    check_allowed,
    check_strengths,
)
from streaming.config import (
    ConfigError,
    SamplerConfig,
    TaehvConfig,
    TextConfig,
    WanConfig,
    WindowConfig,
    check_size,
)
from streaming.controls.control_videos import SEPARATE, Layout, check_layout
from streaming.controls.gray import ANNOTATED, LUMA, Luma
from streaming.modules.wan_vae import WanVaeConfig

AutoencoderConfig = TaehvConfig | WanVaeConfig

# The layout of a preset that brings its own files: PipelineConfig's path keys -> places in its folder.
PACKAGED_FILES: Mapping[str, str] = {
    "generator_path": "generator.safetensors",
    "vace_path": "vace.safetensors",
    "text_encoder_path": "text_encoder.safetensors",
    "tokenizer_path": "tokenizer",
    "vae_path": "autoencoder.safetensors",
}
PACKAGED_DEPTH = "depth-anything-tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One model with everything that was trained with it."""

    name: str
    transformer: WanConfig
    autoencoder: AutoencoderConfig
    text: TextConfig
    height: int  # pixels
    width: int
    decoder: AutoencoderConfig | None = None  # None: the autoencoder's own
    depth: str = "edges"  # the estimator it goes with: edges, a model id or a folder
    needs_files: bool = True  # False: runs without published files, by its folder or with random weights
    folder: Path | None = None  # what it brings along, laid out as PACKAGED_FILES; looks.json too
    about: str = ""  # what people should know of its trained weights, in a few words
    window: WindowConfig = field(default_factory=WindowConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    control_videos: Layout = SEPARATE  # what each channel of each control video shows
    controls: ControlStrengths = DEFAULT_CONTROLS  # that its streams begin with
    allowed_controls: tuple[ControlName, ...] = CONTROLS  # that its streams may ask for: each costs memory
    gray: Luma = ANNOTATED  # how gray was made for its training

    def __post_init__(self) -> None:
        _, patch_h, patch_w = self.transformer.patch_size
        stride = self.autoencoder.space_stride
        check_size(self.name, self.width, self.height, (stride * patch_w, stride * patch_h))
        if self.autoencoder.latent_channels != self.transformer.in_dim:
            raise ConfigError(
                f"autoencoder has {self.autoencoder.latent_channels} latent channels, "
                f"the transformer takes {self.transformer.in_dim} in {self.name}"
            )
        check_layout(self.control_videos, self.name)
        check_strengths(self.controls)
        check_allowed(self.allowed_controls)

    @property
    def latent_size(self) -> tuple[int, int]:
        stride = self.autoencoder.space_stride
        return self.height // stride, self.width // stride

    def with_controls(self, allowed: Sequence[str]) -> Self:
        """Raises ValueError for names that are no controls, or none at all."""
        check_allowed(allowed)
        return replace(self, allowed_controls=tuple(name for name in CONTROLS if name in allowed))

    def with_size(self, size: tuple[int, int] | None) -> Self:
        """For pictures of another width and height, None: its own. Raises ConfigError for one that it cannot
        make."""
        return self if size is None else replace(self, width=size[0], height=size[1])

    def turned(self) -> Self:
        """With width and height exchanged. Raises ConfigError where it cannot make that."""
        return self.with_size((self.height, self.width))

    @property
    def usable_videos(self) -> tuple[int, ...]:
        """Those of `control_videos`, by index, that show an allowed control."""
        return tuple(
            index
            for index, channels in enumerate(self.control_videos)
            if set(channels) & set(self.allowed_controls)
        )

    @property
    def files(self) -> dict[str, str]:
        """Files that come with the preset, by PipelineConfig's path keys; empty when none do."""
        return {key: str(self.folder / name) for key, name in PACKAGED_FILES.items()} if self.folder else {}


def packaged(preset: Preset, folder: Path) -> Preset:
    """`preset` with the weights, the depth estimator and the looks that lie in `folder`."""
    return replace(preset, folder=folder, depth=str(folder / PACKAGED_DEPTH))


# Small enough for two CPU cores; the same architecture and code path as the published model. Random weights:
# for tests of the path and for benchmarks.
UNTRAINED = Preset(
    name="embedded",
    transformer=WanConfig(
        dim=256,
        ffn_dim=768,
        num_heads=4,
        num_layers=4,
        freq_dim=64,
        text_dim=128,
        text_len=32,
        vace_layers=(0, 2),
    ),
    window=WindowConfig(local_attn_size=9, sink_size=3),
    # What it paints follows from what it sees, so that two steps do as well as four: embedded/README.md.
    sampler=SamplerConfig(denoising_step_list=(1000, 500)),
    autoencoder=TaehvConfig(
        patch_size=4,
        encoder_channels=(48, 64, 64, 64),
        decoder_channels=(96, 64, 48, 48),
        encoder_space_downscale=(True, False, False),
        decoder_space_upscale=(True, False, False),
    ),
    text=TextConfig(vocab_size=1024, d_kv=32, d_ff=256, num_layers=2, num_heads=4),
    height=144,
    width=256,
    needs_files=False,
    control_videos=(("depth", "gray", "gray"), ("lines", "lines", "lines")),
    controls=(("depth", 1.0), ("gray", 1.0)),
    gray=LUMA,
    about="built-in model, trained on rendered scenes and photographs",
)

# What runs when nothing else is asked for.
EMBEDDED = packaged(UNTRAINED, Path(__file__).parents[1] / "embedded")

# Wan 2.1 as published, with VACE's layer maps.
WAN_1_3B = WanConfig(
    dim=1536,
    ffn_dim=8960,
    num_heads=12,
    num_layers=30,
    freq_dim=256,
    text_dim=4096,
    text_len=512,
    vace_layers=tuple(range(0, 30, 2)),
)

# NVlabs/LongLive 1.0 on Wan 2.1 1.3B, guided by VACE.
LONGLIVE = Preset(
    name="longlive-1.3b",
    transformer=WAN_1_3B,
    autoencoder=WanVaeConfig(),
    text=TextConfig(vocab_size=256384, d_kv=64, d_ff=10240, num_layers=24, num_heads=64),
    height=480,
    width=832,
    depth="depth-anything/Depth-Anything-V2-Small-hf",
)

PRESETS = {preset.name: preset for preset in (EMBEDDED, LONGLIVE)}

# Names under which the feature document's configuration asks for a model.
BASE_MODELS = {"embedded": "embedded", "Wan2.1-T2V-1.3B": "longlive-1.3b"}


def find_preset(name: str) -> Preset:
    """Raises ConfigError naming the presets there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"model must be one of {', '.join(sorted(PRESETS))}, got {name!r}") from None
