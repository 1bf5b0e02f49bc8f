"""Arithmetic of a chunk, from shapes alone, and the time that the measured ceilings leave it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

import streaming.kernels.hopper_convolution  # noqa: F401 -- registers its operator
from streaming.config import WanConfig


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations, by the unit that bounds them; a multiply-add counts as two."""

    gemm: float = 0.0  # matrix products and convolutions
    attention: float = 0.0
    fp8_gemm: float = 0.0
    fp8_attention: float = 0.0

    @property
    def total(self) -> float:
        return sum(astuple(self))

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, count: int) -> "Work":
        return Work(*(count * part for part in astuple(self)))

    def floor_ms(self, rates: Mapping[str, float | None]) -> float | None:
        """Milliseconds at the measured rates (operations per second, by the names of the fields); None where
        one that is needed is not known."""
        needed = [(part, rates.get(kind)) for kind, part in asdict(self).items() if part]
        if any(rate is None for _, rate in needed):
            return None
        return sum(part / rate for part, rate in needed if rate) * 1e3


@dataclass(frozen=True, slots=True)
class InFp8:
    """What of a block runs in fp8."""

    products: bool = False  # packed queries, keys and values, and the FFN's
    attention: bool = False  # self-attention


def gemm(rows: int, inner: int, columns: int) -> float:
    """2 * rows * inner * columns."""
    return 2.0 * rows * inner * columns


def attention(queries: int, keys: int, width: int) -> float:
    """4 * queries * keys * width: q k^T and the product with v, all heads (width = heads * head size)."""
    return 4.0 * queries * keys * width


def block_work(config: WanConfig, tokens: int, keys: int, fp8: InFp8) -> Work:
    """One transformer block; L tokens, K keys, E = dim, F = ffn_dim, T = text_len.

    gemm: q, k, v, o of self-attention 8 L E^2; q and o of cross-attention 4 L E^2 (its k and v are made once
    a prompt); FFN 4 L E F. attention: 4 L K E, and 4 L T E over the text. Norms and gates are left out.
    """
    dim = config.dim
    square, ffn = gemm(tokens, dim, dim), 2 * gemm(tokens, dim, config.ffn_dim)
    own, text = attention(tokens, keys, dim), attention(tokens, config.text_len, dim)
    products = Work(3 * square, fp8_gemm=3 * square + ffn) if fp8.products else Work(6 * square + ffn)
    attending = Work(attention=text, fp8_attention=own) if fp8.attention else Work(attention=text + own)
    return products + attending


def pass_work(
    config: WanConfig, *, latents: int, tokens_per_latent: int, window: int, fp8: InFp8 = InFp8()
) -> Work:
    """One forward of the main blocks over `latents`, attending to `window` latents; without hints.

    Blocks as in `block_work`; patches 2 L (C p) E in and 2 L E (C p) out, p pixels a patch; time, once a
    latent, 2 n (freq_dim E + E^2 + 6 E^2).
    """
    dim, tokens = config.dim, latents * tokens_per_latent
    patch = config.patch_size[1] * config.patch_size[2]
    ends = gemm(tokens, config.in_dim * patch, dim) + gemm(tokens, dim, config.out_dim * patch)
    time = gemm(latents, config.freq_dim, dim) + 7 * gemm(latents, dim, dim)
    blocks = block_work(config, tokens, window * tokens_per_latent, fp8).times(config.num_layers)
    return blocks + Work(ends + time)


def hints_work(config: WanConfig, *, latents: int, tokens_per_latent: int, fp8: InFp8 = InFp8()) -> Work:
    """The VACE branch of one pass: a block that attends to the chunk alone, and 2 L E^2 for its hint, a
    layer."""
    tokens = latents * tokens_per_latent
    block = block_work(config, tokens, tokens, fp8) + Work(gemm(tokens, config.dim, config.dim))
    return block.times(len(config.vace_layers))


@torch.inference_mode()
def counted(run: Callable[[], object]) -> Work:
    """What `run` really dispatches: PyTorch's counter, 2 * output elements * inputs of each, for
    convolutions too."""
    unknown = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention,
        torch.ops.aten.cudnn_convolution_relu: _convolution_relu,
        torch.ops.longlive.convolve: _hopper_convolution,
    }
    counter = FlopCounterMode(display=False, custom_mapping=unknown)
    with torch.compiler.set_stance("force_eager"), counter:  # else all is compiled again, to be counted
        run()
    ops = counter.get_flop_counts().get("Global", {})
    attending = sum(flop for op, flop in ops.items() if "attention" in str(op))
    return Work(float(sum(ops.values()) - attending), float(attending))


def _cpu_attention(query: Sequence[int], key: Sequence[int], *_: object, **__: object) -> int:
    """An attention kernel that PyTorch's counter does not know, from shapes (B, heads, tokens, size)."""
    batch, heads, queries, size = query
    return int(batch * attention(queries, key[2], heads * size))


def _convolution_relu(
    x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    """Convolution and ReLU in one: weight (O, C / groups, *kernel)."""
    return 2 * prod(out_shape) * prod(weight[1:])


def _hopper_convolution(
    before: Sequence[int], x: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    """The kernel of our own: x (B, C, T, H, W), always 3 x 3 x 3."""
    return 2 * prod(out_shape) * x[1] * 27
