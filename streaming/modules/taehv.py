"""TAEHV: a tiny causal autoencoder of video. Same key names as `taew2_1.pth`; source: madebyollin/taehv.

Both directions are pure functions of (input, memory): a memory block sees its own input and that of the
frame before, so the state of a stream is one frame per memory block. `TAEHV.encode` and `.decode` speak the
conventions of the rest of the engine (pixels in [-1, 1], Wan's grouping of frames); `encode_frames` and
`decode_latents` are the raw network (pixels in [0, 1], groups of `time_stride` frames).

    memory = None
    for frames in stream:                      # 9 frames first, then 12
        latents, memory = taehv.encode(frames, memory)
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from streaming.config import TaehvConfig

Memory = tuple[Tensor, ...]  # one (B, H, W, C) per MemBlock: its last input frame


def _per_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2-d layer to every frame of x (B, T, H, W, C).

    Channels lie last in memory all the way: what convolutions want on a CPU and on a GPU alike, and frames
    and channels are joined and split without a copy of the other layout.
    """
    return layer(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block that also sees the frame before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, last: Tensor | None) -> Tensor:
        """x (B, T, H, W, C); `last` (B, H, W, C) is the input frame before x, None at a stream's start."""
        first = torch.zeros_like(x[:, :1]) if last is None else last[:, None]
        past = torch.cat([first, x[:, :-1]], dim=1)
        return _per_frame(self.conv, torch.cat([x, past], dim=-1)).add_(x).relu_()


class TPool(nn.Module):
    """`stride` frames become one."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels * stride, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return _per_frame(self.conv, x.unflatten(1, (-1, self.stride)).movedim(2, -2).flatten(-2))


class TGrow(nn.Module):
    """One frame becomes `stride`, each `scale` times as high and wide.

    Published as enlarge, then grow. A 1x1 convolution does not mind the order, and costs a fourth first.
    """

    def __init__(self, channels: int, stride: int, scale: int) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = _per_frame(self.conv, x).unflatten(-1, (self.stride, -1)).movedim(-2, 2).flatten(1, 2)
        if self.scale == 1:
            return x
        rows_and_columns = x[:, :, :, None, :, None].expand(-1, -1, -1, self.scale, -1, self.scale, -1)
        return rows_and_columns.flatten(4, 5).flatten(2, 3)


def _encoder(config: TaehvConfig) -> nn.Sequential:
    channels, before = config.encoder_channels, config.encoder_channels[0]
    layers: list[nn.Module] = [nn.Conv2d(3 * config.patch_size**2, before, 3, padding=1), nn.ReLU()]
    for after, in_time, in_space in zip(
        channels[1:], config.encoder_time_downscale, config.encoder_space_downscale, strict=True
    ):
        layers += [
            TPool(before, 2 if in_time else 1),
            nn.Conv2d(before, after, 3, padding=1, stride=2 if in_space else 1, bias=False),
            *(MemBlock(after) for _ in range(3)),
        ]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, config.latent_channels, 3, padding=1))


def _decoder(config: TaehvConfig) -> nn.Sequential:
    channels, before = config.decoder_channels, config.decoder_channels[0]
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(config.latent_channels, before, 3, padding=1), nn.ReLU()]
    for after, in_time, in_space in zip(
        channels[1:], config.decoder_time_upscale, config.decoder_space_upscale, strict=True
    ):
        layers += [
            *(MemBlock(before) for _ in range(3)),
            nn.Identity(),  # where published weights count the enlargement
            TGrow(before, 2 if in_time else 1, 2 if in_space else 1),
            nn.Conv2d(before, after, 3, padding=1, bias=False),
        ]
        before = after
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(before, 3 * config.patch_size**2, 3, padding=1))


def run_layers(layers: nn.Sequential, x: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
    """Drive x (B, T, H, W, C) through all layers; returns the result and what the next call needs of this
    one."""
    kept: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, MemBlock):
            last = None if memory is None else memory[len(kept)]
            kept.append(x[:, -1].clone())  # a view would keep the whole call's activations alive
            x = layer(x, last)
        elif isinstance(layer, TPool | TGrow):
            x = layer(x)
        else:
            x = _per_frame(layer, x)
    return x, tuple(kept)


class TAEHV(nn.Module):
    """Latents are the transformer's own (no mean and std). Holds weights only; memories are values."""

    def __init__(self, config: TaehvConfig) -> None:
        super().__init__()
        self.config = config
        # The calls of a stream in progress, always of the same shapes: these, or the same compiled.
        self.encode_step: Callable[..., tuple[Tensor, Memory]] = TAEHV.run_encoder
        self.decode_step: Callable[..., tuple[Tensor, Memory]] = TAEHV.run_decoder
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)

    @property
    def frames_to_trim(self) -> int:
        """Frames that the decoder invents before the first of a stream."""
        return self.config.time_stride - 1

    def encode_frames(self, video: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """(B, T, 3, H, W) in [0, 1], T a multiple of `time_stride` -> latents (B, F, C, h, w)."""
        if video.shape[1] % self.config.time_stride:
            raise ValueError(
                f"encode_frames takes a multiple of {self.config.time_stride} frames, got {video.shape[1]}"
            )
        return (TAEHV.run_encoder if memory is None else self.encode_step)(self, video, memory)

    def decode_latents(self, latents: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """(B, F, C, h, w) -> (B, time_stride * F, 3, H, W) in [0, 1]; a stream's start is not trimmed."""
        video, memory = self.decode_unclamped(latents, memory)
        return video.clamp_(0, 1), memory

    def decode_unclamped(self, latents: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """`decode_latents` before values are clamped, for those that learn from what is beyond."""
        return (TAEHV.run_decoder if memory is None else self.decode_step)(self, latents, memory)

    def run_encoder(self, video: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        size = self.config.patch_size
        patches = video.unflatten(3, (-1, size)).unflatten(5, (-1, size))  # B T 3 h p w p
        x = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)  # as pixel_unshuffle counts channels, these last
        latents, memory = run_layers(self.encoder, x, memory)
        return latents.movedim(-1, 2), memory

    def run_decoder(self, latents: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        size = self.config.patch_size
        x, memory = run_layers(self.decoder, latents.movedim(2, -1), memory)
        patches = x.unflatten(-1, (3, size, size)).permute(0, 1, 2, 5, 3, 6, 4)  # B T h p w p 3
        return patches.flatten(4, 5).flatten(2, 3).movedim(-1, 2), memory

    def encode(self, video: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """(B, T, 3, H, W) in [-1, 1] -> latents (B, F, C, h, w) and the memory for the frames that follow.

        At a stream's start (memory None) T is 4k + 1 and the first frame, repeated, makes the first latent
        alone: Wan's grouping 0 | 1-4 | 5-8, so that control frame k describes output frame k. Later T is 4k.
        """
        stride, frames = self.config.time_stride, video.shape[1]
        alone = 1 if memory is None else 0
        if frames % stride != alone % stride or not frames:
            expected = (
                f"{stride}k + 1 frames at a stream's start" if alone else f"a multiple of {stride} frames"
            )
            raise ValueError(f"encode takes {expected}, got {frames}")
        if alone:
            video = torch.cat([video[:, :1].expand(-1, stride - 1, -1, -1, -1), video], dim=1)
        return self.encode_frames(video * 0.5 + 0.5, memory)

    def decode(self, latents: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """(B, F, C, h, w) -> (B, T, 3, H, W) in [-1, 1]: 4F - 3 frames at a stream's start (memory None),
        then 4F."""
        video, after = self.decode_latents(latents, memory)
        trim = self.frames_to_trim if memory is None else 0
        return video[:, trim:].mul_(2).sub_(1), after
