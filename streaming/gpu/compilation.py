"""The networks around the transformer, compiled. Numbers stay those of the eager ones, up to rounding.

Convolutions and products stay those of the vendor's library, which are near the chip's rate at these sizes;
searching for better ones takes minutes at every start. The transformer has kernels of its own, see
`streaming.gpu.fusion`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streaming.kernels.tap_convolution import TapConv2d
from streaming.modules.taehv import TAEHV
from streaming.modules.wan_vae import WanVAE

FEW_OUTPUTS = 4  # of a convolution that is summed tap by tap
SHAPES_AT_MOST = 16  # that one part may meet: autoencoders of two kinds, of several sizes in a process


def keep_compiled(folder: Path) -> None:
    """Keep what is compiled below `folder`, for the next start. To be called before anything compiles; what
    the environment says goes before."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def compile_autoencoder(autoencoder: WanVAE | TAEHV, backend: str = "inductor") -> None:
    """Compile what a stream in progress runs. Its first chunk stays eager: it has shapes of its own, and
    comes once."""
    if isinstance(autoencoder, WanVAE):
        for part in (autoencoder.encoder, autoencoder.decoder):
            part.stream_step = _compiled(type(part).forward_stream, backend)
        return
    layers = autoencoder.decoder
    last = layers[-1]
    if isinstance(last, nn.Conv2d) and last.out_channels <= FEW_OUTPUTS:
        layers[-1] = TapConv2d(last)
    if isinstance(wide := layers[-3], nn.Conv2d) and wide.weight.is_cuda:
        layers[-3], layers[-2] = RectifiedConv2d(wide), nn.Identity()
    autoencoder.encode_step = _compiled(TAEHV.run_encoder, backend)
    autoencoder.decode_step = _compiled(TAEHV.run_decoder, backend)


class RectifiedConv2d(nn.Module):
    """In place of an nn.Conv2d, with its weights under the same names, and of the ReLU after it, on a GPU:
    one pass over memory less, 0.4 of TAEHV's 6.0 ms on an H100."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if isinstance(conv.padding, str):
            raise ValueError(f"padding must be given in pixels, got {conv.padding!r}")
        self.weight, self.bias, self.padding = conv.weight, conv.bias, conv.padding
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        how = (self.stride, self.padding, self.dilation, self.groups)
        return torch.cudnn_convolution_relu(x, self.weight, self.bias, *how)


def _compiled(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES_AT_MOST)
    return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
