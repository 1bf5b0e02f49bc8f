"""What makes a loaded pipeline faster, lever by lever. Each is off until it was measured to pay; numbers stay
those of the plain pipeline up to rounding, but for fp8.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from streaming.compilation import compile_autoencoder, compile_transformer
from streaming.cuda_graphs import CudaGraphs
from streaming.fp8 import use_fp8
from streaming.modules.attention import Kernel, prefer
from streaming.modules.causal_model import WanBlock
from streaming.modules.wan_vae import WanVAE, arrange
from streaming.pipeline import LongLivePipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Levers:
    """Independent of each other. fp8 and graphs need a GPU."""

    packs: bool = False  # queries, keys and values of self-attention in one product
    fp8: bool = False  # the blocks' large products
    compiles: bool = False  # blocks, head, and the Wan autoencoder of a running stream
    graphs: bool = False  # passes over a full window as CUDA graphs
    attention: Kernel = "auto"
    channels_last: bool = False  # the Wan autoencoder's activations, pixel by pixel
    folds_time: bool = False  # its causal convolutions as 2-d ones
    tunes: bool = False  # convolutions by the kernel that cuDNN finds fastest where it meets a shape first


def accelerate(pipeline: LongLivePipeline, levers: Levers) -> None:
    """Once, after loading and before anything ran. Raises ValueError for what the device cannot do."""
    is_cuda = pipeline.device.type == "cuda"
    for name in ("fp8", "graphs"):
        if getattr(levers, name) and not is_cuda:
            raise ValueError(f"{name} needs a GPU, got device {pipeline.device}")
    transformer, models = pipeline.models.transformer, pipeline.models
    if levers.packs:
        for module in transformer.modules():
            if isinstance(module, WanBlock):
                module.self_attn.pack()
    if levers.fp8:
        use_fp8(transformer)
    autoencoders = {id(a): a for a in (models.autoencoder, models.decoder) if isinstance(a, WanVAE)}
    for autoencoder in autoencoders.values():
        arrange(autoencoder, channels_last=levers.channels_last, folds_time=levers.folds_time)
    prefer(levers.attention)
    torch.backends.cudnn.benchmark = levers.tunes
    if levers.compiles:
        compile_transformer(transformer)
        for autoencoder in autoencoders.values():
            compile_autoencoder(autoencoder)
    if levers.graphs:
        pipeline.passes.record = CudaGraphs()


Speed = Literal["exact", "fast"]


def levers_for(speed: Speed) -> Levers:
    """What a server on a GPU runs with. `exact` keeps the numbers of the plain pipeline; `fast` has fp8."""
    return Levers(
        packs=True,
        fp8=speed == "fast",
        compiles=True,
        graphs=True,
        attention="cudnn",
        channels_last=True,
    )
