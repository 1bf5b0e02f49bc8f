"""Optimizations of a loaded pipeline. Each is off until it was measured to pay; numbers stay
those of the plain pipeline up to rounding, but for fp8.
"""

import logging
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from streaming.api import Speed
from streaming.gpu.compilation import compile_autoencoder
from streaming.gpu.cuda_graphs import CudaGraphs
from streaming.gpu.side_stream import SideStream
from streaming.kernels.attention import HOPPER, Kernel, attention_kernel, can_use_fa3
from streaming.kernels.fp8 import Fp8Linear
from streaming.kernels.hopper_convolution import can_convolve
from streaming.modules.causal_model import BlockParts, CausalWanModel, WanBlock
from streaming.modules.wan_vae import WanVAE, arrange
from streaming.pipeline import LongLivePipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizations:
    """Independent of each other. fp8 and graphs need a GPU."""

    packs: bool = False  # queries, keys and values of self-attention in one product
    fuses: bool = False  # the blocks: kernels of our own between their products, which are packed
    fp8: bool = False  # the blocks' large products
    fp8_attention: bool = False  # operands of self-attention, and the ring; for fused blocks and "fa3"
    side_stream: bool = False  # hints on a second stream, beside the blocks that wait for them
    graphs: bool = False  # passes over a full window as CUDA graphs
    attention: Kernel = "auto"
    compiles: bool = False  # the autoencoders of a running stream
    channels_last: bool = False  # the Wan autoencoder's activations, pixel by pixel
    hopper_conv: bool = False  # its wide convolutions by a kernel of our own, where that can be compiled


def accelerate(pipeline: LongLivePipeline, optimizations: Optimizations) -> None:
    """Once, after loading and before anything ran. Raises ValueError for what the device cannot do, or what
    does not go together."""
    is_cuda = pipeline.device.type == "cuda"
    for name in ("fuses", "fp8", "fp8_attention", "side_stream", "graphs", "hopper_conv"):
        if getattr(optimizations, name) and not is_cuda:
            raise ValueError(f"{name} needs a GPU, got device {pipeline.device}")
    if optimizations.fp8_attention and not (optimizations.fuses and optimizations.attention == "fa3"):
        raise ValueError(f"fp8_attention needs fused blocks and attention fa3, got {optimizations.attention}")
    if optimizations.hopper_conv and pipeline.dtype != torch.bfloat16:
        raise ValueError(f"hopper_conv needs torch.bfloat16, got {pipeline.dtype}")
    transformer, models = pipeline.models.transformer, pipeline.models
    if optimizations.packs or optimizations.fuses:
        for module in transformer.modules():
            if isinstance(module, WanBlock):
                module.self_attn.pack()
    if optimizations.fp8:
        use_fp8(transformer)
    kernel = attention_kernel(optimizations.attention)
    if optimizations.fuses:
        from streaming.gpu.fusion import fused_parts  # here and not at the top: Triton comes with a GPU

        transformer.parts = fused_parts(transformer.config, kernel, fp8_attention=optimizations.fp8_attention)
    else:
        transformer.parts = BlockParts(kernel)
    for autoencoder in {id(a): a for a in (models.autoencoder, models.decoder)}.values():
        if isinstance(autoencoder, WanVAE):
            arrange(
                autoencoder,
                channels_last=optimizations.channels_last,
                by_taps=optimizations.compiles,
                own=optimizations.hopper_conv and can_convolve(pipeline.device),
            )
        if optimizations.compiles:
            compile_autoencoder(autoencoder)
    if optimizations.side_stream:
        pipeline.passes.side_stream = SideStream(pipeline.device)
    if optimizations.graphs:
        pipeline.passes.capture = CudaGraphs()


FP8_SINCE = (8, 9)  # capability of the first cards that multiply fp8


def optimizations_for(speed: Speed, device: torch.device, dtype: torch.dtype) -> Optimizations:
    """What a GPU runs with. `exact` keeps the numbers of the plain pipeline up to rounding; `fast` multiplies
    and attends in fp8, where the card does."""
    has_triton = find_spec("triton") is not None  # not in PyTorch's builds for Windows
    capability, has_fa3 = torch.cuda.get_device_capability(device), can_use_fa3(device)
    is_fast = speed == "fast" and dtype == torch.bfloat16 and capability >= FP8_SINCE
    if speed == "fast" and not is_fast:
        logger.warning("No fp8 with %s on %s: fast differs from exact by TAEHV alone", dtype, device)
    if capability == HOPPER and not has_fa3:
        logger.warning("Attention would take a quarter less with FlashAttention-3: pip install fa3-fwd")
    return Optimizations(
        fuses=has_triton,
        fp8=is_fast,
        fp8_attention=is_fast and has_fa3 and has_triton,
        side_stream=True,
        graphs=True,
        attention="fa3" if has_fa3 else "auto",
        compiles=has_triton,
        channels_last=True,
        hopper_conv=dtype == torch.bfloat16 and capability == HOPPER,
    )


@torch.no_grad()
def use_fp8(model: CausalWanModel) -> None:
    """Exchange the products of all blocks that gain by it, those of the branch too: self-attention's packed
    one and the FFN's. At dim x dim quantising takes what the product saves, and what is small or made once a
    prompt stays as it is."""
    for block in model.modules():
        if not isinstance(block, WanBlock):
            continue
        attention = block.self_attn
        projections = ("q", "k", "v") if attention.qkv is None else ("qkv",)
        for owner, names in ((attention, projections), (block.ffn, ("0", "2"))):
            for name in names:
                setattr(owner, name, Fp8Linear(getattr(owner, name)))
