"""The models this engine knows, as data. A new model is a new entry, never a branch."""

from dataclasses import dataclass, field, replace

from streaming.config import ConfigError, SamplerConfig, TaehvConfig, TextConfig, WanConfig, WindowConfig
from streaming.modules.wan_vae import WanVaeConfig

AutoencoderConfig = TaehvConfig | WanVaeConfig


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
    depth: str = "edges"  # the estimator it goes with: edges, or a model id
    needs_files: bool = True  # False: may run with random weights, for want of better
    window: WindowConfig = field(default_factory=WindowConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        step = self.autoencoder.space_stride * self.transformer.patch_size[1]
        if self.height % step or self.width % step:
            raise ConfigError(
                f"height and width of {self.name} must be multiples of {step}, "
                f"got {self.height} x {self.width}"
            )
        if self.autoencoder.latent_channels != self.transformer.in_dim:
            raise ConfigError(
                f"autoencoder has {self.autoencoder.latent_channels} latent channels, "
                f"the transformer takes {self.transformer.in_dim} in {self.name}"
            )

    @property
    def latent_size(self) -> tuple[int, int]:
        stride = self.autoencoder.space_stride
        return self.height // stride, self.width // stride


# Small enough for two CPU cores; the same architecture and code path as the published model.
EMBEDDED = Preset(
    name="embedded",
    transformer=WanConfig(
        dim=192,
        ffn_dim=576,
        num_heads=3,
        num_layers=4,
        freq_dim=64,
        text_dim=128,
        text_len=96,
        vace_layers=(0, 2),
    ),
    autoencoder=TaehvConfig(
        patch_size=4,
        encoder_channels=(24, 32, 48, 64),
        decoder_channels=(96, 64, 48, 48),
        encoder_space_downscale=(True, False, False),
        decoder_space_upscale=(True, False, False),
    ),
    text=TextConfig(vocab_size=384, d_kv=32, d_ff=256, num_layers=2, num_heads=4),
    height=144,
    width=256,
    needs_files=False,
)

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
WAN_14B = replace(
    WAN_1_3B, dim=5120, ffn_dim=13824, num_heads=40, num_layers=40, vace_layers=tuple(range(0, 40, 5))
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
