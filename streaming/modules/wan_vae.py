"""Wan 2.1 video autoencoder, streaming. Same key names as `Wan2.1_VAE.pth`; source: Wan-Video/Wan2.1.

Both directions are pure functions of (input, cache). The network is causal: every convolution over time sees
its frame and the two before it, so what a stream has to remember is the last one or two input frames of each
such convolution. A cache is a value: using it leaves it as it was, and an older one may be used again.

The first frame of a stream stands alone (latent 0), every later latent stands for a group of `time_stride`
(4) frames. The layers that change the frame rate therefore treat it apart; all other frames of a call go
through each convolution together.

    cache = None
    for frames in stream:                      # 9 frames first, then 12
        latents, cache = vae.encode(frames, cache)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streaming.config import ConfigError, published_fields
from streaming.kernels.hopper_convolution import begin_compiling, convolve, fits, pack
from streaming.kernels.tap_convolution import convolve_by_taps

# Statistics of the published autoencoder's 16 channels; the transformer works on (latent - mean) / std.
WAN_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WanVaeConfig:
    """Field names are upstream's, spelling included; the defaults are `Wan2.1_VAE.pth`."""

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attn_scales: tuple[float, ...] = ()
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    dropout: float = 0.0
    mean: tuple[float, ...] = WAN_MEAN
    std: tuple[float, ...] = WAN_STD

    def __post_init__(self) -> None:
        steps = len(self.dim_mult) - 1
        if len(self.temperal_downsample) != steps:
            raise ConfigError(
                f"temperal_downsample must hold {steps} values (one less than dim_mult), "
                f"got {self.temperal_downsample}"
            )
        if not len(self.mean) == len(self.std) == self.z_dim:
            raise ConfigError(
                f"mean and std must hold z_dim = {self.z_dim} values, "
                f"got {len(self.mean)} and {len(self.std)}"
            )

    @property
    def latent_channels(self) -> int:
        return self.z_dim

    @property
    def time_stride(self) -> int:
        """Frames of a latent (the first latent of a stream stands for one)."""
        return 2 ** sum(self.temperal_downsample)

    @property
    def space_stride(self) -> int:
        return 2 ** (len(self.dim_mult) - 1)

    @classmethod
    def from_published(cls, config: Mapping[str, Any]) -> Self:
        """From a published configuration (or a parity case)."""
        return cls(**published_fields(cls, config))


@dataclass(frozen=True, slots=True)
class EncoderCache:
    """The last input frames of every time convolution of the encoder, in layer order; each (B, C, 1 or 2, H,
    W)."""

    past: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class DecoderCache:
    """The last input frames of every time convolution of the decoder, in layer order; each (B, C, 2, H,
    W)."""

    past: tuple[Tensor, ...]


class _Past:
    """Walks a cache during one call: each layer takes the frames it kept last time and leaves new ones."""

    def __init__(self, kept: tuple[Tensor, ...] | None, layout: torch.memory_format) -> None:
        """`layout` is that of all activations: kept frames of another would make every layer copy."""
        self.is_start = kept is None  # of a stream
        self._layout = layout
        self._old: Iterator[Tensor] = iter(kept or ())
        self.kept: list[Tensor] = []

    def take(self) -> Tensor:
        return next(self._old)

    def keep(self, frames: Tensor) -> None:
        # A view would keep the whole call's activations alive.
        self.kept.append(frames.clone(memory_format=self._layout))

    def prepend(self, x: Tensor) -> Tensor:
        """x (B, C, T, H, W) with the two frames before it in front; zeros before a stream's start."""
        if self.is_start:
            frames = F.pad(x, (0, 0, 0, 0, 2, 0)).contiguous(memory_format=self._layout)
        else:
            frames = torch.cat([self.take(), x], dim=2)
        self.keep(frames[:, :, -2:])
        return frames


class CausalConv3d(nn.Conv3d):
    """Convolution over (T, H, W); a kernel of 3 in time sees the frame and the two before it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(0, kernel // 2, kernel // 2))

    by_taps = False  # computed as products that are summed: for few outputs
    own: tuple[Tensor, Tensor] | None = None  # weight and bias as the kernel for Hopper takes them

    def forward(self, x: Tensor, past: _Past) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] the past is explicit
        if self.own is not None and not past.is_start:
            before = past.take()
            past.keep(x[:, :, -2:] if x.shape[2] > 1 else torch.cat([before[:, :, 1:], x], dim=2))
            return convolve(before, x, *self.own)
        frames = past.prepend(x)
        if not self.by_taps:
            return super().forward(frames)
        return convolve_by_taps(frames, self.weight, self.bias, (0, *map(int, self.padding[1:])))


class RMSNorm(nn.Module):
    """Length of the channel vector becomes sqrt(channels), then a gain per channel. Computed per position."""

    def __init__(self, channels: int, *, axes: int) -> None:
        """`axes`: how many follow the channel axis, 2 for pictures, 3 for video."""
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=precise).clamp_min(1e-12)
        return x * (x.shape[1] ** 0.5 / length).to(x.dtype) * self.gamma


class ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            RMSNorm(in_channels, axes=3),
            nn.SiLU(),
            CausalConv3d(in_channels, out_channels, 3),
            RMSNorm(out_channels, axes=3),
            nn.SiLU(),
            nn.Dropout(dropout),
            CausalConv3d(out_channels, out_channels, 3),
        )
        self.shortcut = (
            nn.Conv3d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x: Tensor, past: _Past) -> Tensor:
        return self.shortcut(x) + _run(self.residual, x, past)


class AttentionBlock(nn.Module):
    """Self-attention with one head among the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, axes=2)
        self.to_qkv = nn.Conv2d(channels, channels * 3, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        qkv = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)[:, None]
        attended = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        frames = frames + self.proj(attended[:, 0].transpose(1, 2).reshape(frames.shape))
        return frames.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


def _per_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a 2-d layer to every frame of x (B, C, T, H, W)."""
    return layer(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class Downsample(nn.Module):
    """Half the size; with `in_time` also half the frames, but the first of a stream stays single."""

    def __init__(self, channels: int, *, in_time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: _Past) -> Tensor:
        x = _per_frame(self.resample, x)
        if self.time_conv is None:
            return x
        before = x[:, :, :0] if past.is_start else past.take()
        past.keep(x[:, :, -1:])
        if not past.is_start:
            return self.time_conv(torch.cat([before, x], dim=2))
        if x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)


class Upsample(nn.Module):
    """Twice the size and half the channels; with `in_time` also twice the frames, but the first of a stream
    stays single and is not seen by those after it (zeros stand in its place)."""

    def __init__(self, channels: int, *, in_time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest-exact"),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
        )
        self.time_conv = nn.Conv3d(channels, channels * 2, (3, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: _Past) -> Tensor:
        if self.time_conv is not None:
            x = self._double(self.time_conv, x, past)
        return _per_frame(self.resample, x)

    def _double(self, time_conv: nn.Conv3d, x: Tensor, past: _Past) -> Tensor:
        alone = 1 if past.is_start else 0
        first, rest = x[:, :, :alone], x[:, :, alone:]
        if not rest.shape[2]:
            past.keep(torch.zeros_like(first).expand(-1, -1, 2, -1, -1))
            return first
        # Half of the channels make the earlier frame of each pair, the other half the later.
        pairs = time_conv(past.prepend(rest)).unflatten(1, (2, -1))
        return torch.cat([first, pairs.movedim(1, 3).flatten(2, 3)], dim=2)


def _run(layers: nn.Sequential, x: Tensor, past: _Past) -> Tensor:
    """Drive x (B, C, T, H, W) through all layers, those that remember with their past."""
    for layer in layers:
        remembers = isinstance(layer, CausalConv3d | ResidualBlock | Downsample | Upsample)
        x = layer(x, past) if remembers else layer(x)
    return x


def _middle(channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels, dropout),
        AttentionBlock(channels),
        ResidualBlock(channels, channels, dropout),
    )


def _head(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(RMSNorm(in_channels, axes=3), nn.SiLU(), CausalConv3d(in_channels, out_channels, 3))


class Encoder(nn.Module):
    layout = torch.contiguous_format  # of activations and of what is kept

    def __init__(self, config: WanVaeConfig) -> None:
        super().__init__()
        widths = [config.dim * mult for mult in (1, *config.dim_mult)]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            for index in range(config.num_res_blocks):
                layers.append(ResidualBlock(after if index else before, after, config.dropout))
                if 0.5**level in config.attn_scales:
                    layers.append(AttentionBlock(after))
            if level < len(config.temperal_downsample):
                layers.append(Downsample(after, in_time=config.temperal_downsample[level]))
        self.stream_step: Callable[..., Any] = Encoder.forward_stream  # or the same, compiled
        self.conv1 = CausalConv3d(3, widths[0], 3)
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(widths[-1], config.dropout)
        self.head = _head(widths[-1], config.z_dim * 2)

    def forward(self, video: Tensor, cache: EncoderCache | None) -> tuple[Tensor, EncoderCache]:
        """(B, 3, T, H, W) -> features (B, 2 * z_dim, F, h, w) and the cache for what follows."""
        video = video.contiguous(memory_format=self.layout)
        x, kept = self.begin(video) if cache is None else self.stream_step(self, video, cache.past)
        return x, EncoderCache(kept)

    def begin(self, video: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self._walk(video, _Past(None, self.layout))

    def forward_stream(self, video: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The call of a stream in progress: always of the same shapes, so that it can be compiled."""
        return self._walk(video, _Past(kept, self.layout))

    def _walk(self, x: Tensor, past: _Past) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.conv1(x, past)
        for layers in (self.downsamples, self.middle, self.head):
            x = _run(layers, x, past)
        return x, tuple(past.kept)


class Decoder(nn.Module):
    layout = torch.contiguous_format

    def __init__(self, config: WanVaeConfig) -> None:
        super().__init__()
        widths = [config.dim * mult for mult in (config.dim_mult[-1], *reversed(config.dim_mult))]
        in_time = config.temperal_downsample[::-1]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            before = before // 2 if level else before  # an Upsample went before
            for index in range(config.num_res_blocks + 1):
                layers.append(ResidualBlock(after if index else before, after, config.dropout))
                if 0.5 ** (len(in_time) - 1 - level) in config.attn_scales:
                    layers.append(AttentionBlock(after))
            if level < len(in_time):
                layers.append(Upsample(after, in_time=in_time[level]))
        self.stream_step: Callable[..., Any] = Decoder.forward_stream  # or the same, compiled
        self.conv1 = CausalConv3d(config.z_dim, widths[0], 3)
        self.middle = _middle(widths[0], config.dropout)
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(widths[-1], 3)

    def forward(self, latents: Tensor, cache: DecoderCache | None) -> tuple[Tensor, DecoderCache]:
        """(B, z_dim, F, h, w) -> (B, 3, T, H, W) and the cache for what follows."""
        latents = latents.contiguous(memory_format=self.layout)
        x, kept = self.begin(latents) if cache is None else self.stream_step(self, latents, cache.past)
        return x, DecoderCache(kept)

    def begin(self, latents: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self._walk(latents, _Past(None, self.layout))

    def forward_stream(self, latents: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The call of a stream in progress: always of the same shapes, so that it can be compiled."""
        return self._walk(latents, _Past(kept, self.layout))

    def _walk(self, x: Tensor, past: _Past) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.conv1(x, past)
        for layers in (self.middle, self.upsamples, self.head):
            x = _run(layers, x, past)
        return x, tuple(past.kept)


class WanVAE(nn.Module):
    """Encoder and decoder with the statistics of the latents. Holds weights only; caches are values.

    `mean` and `std` come from the configuration (no file holds them) and stay real tensors on the meta
    device, so `load_state_dict(..., assign=True)` completes a module built there.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: WanVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(config.z_dim * 2, config.z_dim * 2, 1)
        self.conv2 = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name), device="cpu").reshape(-1, 1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def encode(self, video: Tensor, cache: EncoderCache | None = None) -> tuple[Tensor, EncoderCache]:
        """(B, T, 3, H, W) in [-1, 1] -> normalised latents (B, F, C, h, w) and the cache for the frames that
        follow.

        At a stream's start (cache None) T is 4k + 1 and gives k + 1 latents; later T is 4k and gives k.
        Raises ValueError naming the size or count that does not fit.
        """
        self._check_video(video, cache)
        features, after = self.encoder(video.transpose(1, 2), cache)
        return self.latents_of(features), after

    def latents_of(self, features: Tensor) -> Tensor:
        """What the encoder gives (B, 2 * z_dim, F, h, w) -> normalised latents (B, F, C, h, w)."""
        mu = self.conv1(features)[:, : self.config.z_dim]
        return ((mu - self.mean.to(mu)) / self.std.to(mu)).transpose(1, 2)

    def decode(self, latents: Tensor, cache: DecoderCache | None = None) -> tuple[Tensor, DecoderCache]:
        """Normalised latents (B, F, C, h, w) -> video (B, T, 3, H, W), about [-1, 1] but not clamped, and the
        cache.

        T is 4F - 3 at a stream's start (cache None), then 4F. Raises ValueError naming the size that does not
        fit.
        """
        z_dim = self.config.z_dim
        if latents.ndim != 5 or latents.shape[2] != z_dim or not latents.shape[1]:
            raise ValueError(
                f"decode takes latents (B, F, {z_dim}, h, w) with F > 0, got {tuple(latents.shape)}"
            )
        if cache is not None:
            _check_same_stream("latents", latents, cache.past[0])
        z = latents.transpose(1, 2) * self.std.to(latents) + self.mean.to(latents)
        video, after = self.decoder(self.conv2(z), cache)
        return video.transpose(1, 2), after

    def _check_video(self, video: Tensor, cache: EncoderCache | None) -> None:
        stride = self.config.space_stride
        if video.ndim != 5 or video.shape[2] != 3:
            raise ValueError(f"encode takes video (B, T, 3, H, W), got {tuple(video.shape)}")
        if video.shape[3] % stride or video.shape[4] % stride:
            raise ValueError(
                f"video height and width must be multiples of {stride}, got {video.shape[3]}x{video.shape[4]}"
            )
        if cache is not None:
            _check_same_stream("video", video, cache.past[0])
        frames, group, is_start = video.shape[1], self.config.time_stride, cache is None
        if frames % group != is_start % group or not frames:
            expected = (
                f"{group}k + 1 frames at a stream's start" if is_start else f"a multiple of {group} frames"
            )
            raise ValueError(f"encode takes {expected}, got {frames}")


def arrange(vae: WanVAE, *, channels_last: bool = False, by_taps: bool = False, own: bool = False) -> None:
    """How convolutions are computed, for kernels that care; the same sums in another order.

    `channels_last` stores weights and activations pixel by pixel. `by_taps` sums up the last convolution,
    which has three outputs, tap by tap. `own` computes the large ones of a running stream by the kernel for
    Hopper (bfloat16, and best with channels last).
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if channels_last:
        for module in vae.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                weight = module.weight
                module.weight.data = weight.data.contiguous(memory_format=formats[weight.ndim])
    last = vae.decoder.head[-1]
    assert isinstance(last, CausalConv3d)
    last.by_taps = by_taps
    for module in vae.modules():
        if isinstance(module, CausalConv3d):
            weight, bias = module.weight, module.bias
            assert bias is not None, "every convolution here has one"
            module.own = None
            if own and fits(weight):
                begin_compiling(weight)
                module.own = pack(weight), bias.float()
    vae.encoder.layout = vae.decoder.layout = formats[5] if channels_last else torch.contiguous_format


def _check_same_stream(name: str, x: Tensor, kept: Tensor) -> None:
    """x (B, T, C, H, W) must go on where `kept` (B, C, 2, H, W), the first layer's memory, left off."""
    given, before = (x.shape[0], *x.shape[3:]), (kept.shape[0], *kept.shape[3:])
    if given != before:
        raise ValueError(
            f"{name} with (batch, height, width) {given} cannot go on from a cache of {before}: "
            "start with cache None"
        )
