"""Ceilings of this device, measured in the run whose figures are compared with it."""

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.bench.engine.flops import attention, gemm
from streaming.checkpoints.presets import Preset
from streaming.config import CHUNK_LATENTS, WanConfig
from streaming.kernels.attention import attention_kernel, can_use_fa3
from streaming.kernels.fp8 import FP8, quantised

KINDS = ("gemm", "fp8_gemm", "attention", "fp8_attention", "bytes", "host")
BACKENDS = {
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One rate. `rate` is in operations or bytes per second; None: it cannot run here, `note` says why."""

    name: str
    shape: str
    kind: str  # one of KINDS
    median_ms: float | None = None
    rate: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured. On a CPU everything is small: only the path is of interest there."""

    square: int
    tokens: int  # of a chunk: queries, and rows of the model's matrix products
    keys: int  # of the window
    copied: int  # bytes
    repeats: int


def sizes_for(preset: Preset, device: torch.device) -> Sizes:
    """The model's shapes; on a CPU none that takes longer than a moment."""
    _, rows, columns = preset.transformer.patch_size
    height, width = preset.latent_size
    per_latent = height // rows * (width // columns)
    tokens, keys = CHUNK_LATENTS * per_latent, preset.window.local_attn_size * per_latent
    if device.type == "cuda":
        return Sizes(8192, tokens, keys, 1 << 30, 50)
    return Sizes(512, min(tokens, 512), min(keys, 2048), 1 << 24, 5)


def median_ms(device: torch.device, runs: Sequence[Callable[[], object]], repeats: int) -> float:
    """Median milliseconds of one run; `runs` do the same on different memory, so that no cache holds them.

    On a GPU all of them, one after the other, lie between two events, which hides launches behind kernels;
    nothing waits before the last.
    """
    for run in runs:
        run()
    if device.type != "cuda":
        spent: list[float] = []
        for index in range(repeats):
            begin = time.perf_counter()
            runs[index % len(runs)]()
            spent.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(spent)
    runs[0]()
    torch.cuda.synchronize(device)
    marks = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)
    ]
    for begin, end in marks:
        begin.record()
        for run in runs:
            run()
        end.record()
    torch.cuda.synchronize(device)
    return statistics.median(begin.elapsed_time(end) for begin, end in marks) / len(runs)


@torch.inference_mode()
def ceilings(config: WanConfig, sizes: Sizes, device: torch.device, dtype: torch.dtype) -> list[Ceiling]:
    """All rates, fresh random operands everywhere: a product of zeros runs faster than real data will."""
    dim, rows = config.dim, sizes.tokens
    shapes = {
        "square": (sizes.square, sizes.square, sizes.square),
        "QKV fused": (rows, dim, 3 * dim),
        "Q, K, V, O": (rows, dim, dim),
        "FFN in": (rows, dim, config.ffn_dim),
        "FFN out": (rows, config.ffn_dim, dim),
    }
    found = [_gemm(name, shape, sizes, device, dtype) for name, shape in shapes.items()]
    found += [_fp8(name, shape, sizes, device) for name, shape in shapes.items()]
    found += [_attention(name, sizes, config, device, dtype) for name in BACKENDS]
    found += [_models_attention(sizes, config, device, kind) for kind in (dtype, FP8)]
    return [*found, *_copies(sizes, device)]


def best(found: Sequence[Ceiling], kind: str) -> float | None:
    """The highest rate of a kind."""
    return max((c.rate for c in found if c.kind == kind and c.rate is not None), default=None)


def as_rows(found: Sequence[Ceiling]) -> list[dict[str, Any]]:
    """Every ceiling as JSON, also as a fraction of the highest of its kind."""
    rows: list[dict[str, Any]] = []
    for ceiling in found:
        top = best(found, ceiling.kind)
        of_best = ceiling.rate / top if ceiling.rate is not None and top else None
        rows.append(asdict(ceiling) | {"of_best": of_best})
    return rows


def _gemm(
    name: str, shape: tuple[int, int, int], sizes: Sizes, device: torch.device, dtype: torch.dtype
) -> Ceiling:
    rows, inner, columns = shape

    def new() -> Callable[[], Tensor]:
        x, weight = (torch.randn(n, inner, device=device, dtype=dtype) for n in (rows, columns))
        return lambda: F.linear(x, weight)

    title = f"{str(dtype).removeprefix('torch.')} GEMM {name}"
    return _measure(title, "gemm", _text(shape), new, gemm(*shape), sizes, device)


def _fp8(name: str, shape: tuple[int, int, int], sizes: Sizes, device: torch.device) -> Ceiling:
    """Row-wise scales on both sides, bf16 out. Quantising the activations is not part of it."""
    rows, inner, columns = shape

    def new() -> Callable[[], Tensor]:
        if device.type != "cuda":
            raise RuntimeError("needs a GPU")
        x, weight = (torch.randn(n, inner, device=device, dtype=torch.bfloat16) for n in (rows, columns))
        (x8, x_scale), (w8, w_scale) = quantised(x), quantised(weight)
        return lambda: torch.ops.aten._scaled_mm(
            x8, w8.t(), scale_a=x_scale, scale_b=w_scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return _measure(f"fp8 GEMM {name}", "fp8_gemm", _text(shape), new, gemm(*shape), sizes, device)


def _attention(
    name: str, sizes: Sizes, config: WanConfig, device: torch.device, dtype: torch.dtype
) -> Ceiling:
    """In the model's layout, (B, tokens, heads, head size) seen as (B, heads, tokens, head size)."""

    def new() -> Callable[[], Tensor]:
        q, k, v = (
            torch.randn(1, n, config.num_heads, config.head_dim, device=device, dtype=dtype).transpose(1, 2)
            for n in (sizes.tokens, sizes.keys, sizes.keys)
        )

        def run() -> Tensor:
            with sdpa_kernel(BACKENDS[name]):
                return F.scaled_dot_product_attention(q, k, v)

        return run

    shape = f"q {sizes.tokens}, k {sizes.keys}, {config.num_heads} x {config.head_dim}"
    flop = attention(sizes.tokens, sizes.keys, config.dim)
    return _measure(f"attention {name}", "attention", shape, new, flop, sizes, device)


def _models_attention(sizes: Sizes, config: WanConfig, device: torch.device, dtype: torch.dtype) -> Ceiling:
    """By the kernel that a server hands to the model on this device."""

    def new() -> Callable[[], Tensor]:
        if dtype == FP8 and not can_use_fa3(device):
            raise RuntimeError("needs a Hopper card and fa3-fwd")
        q, k, v = (
            torch.randn(1, n, config.num_heads, config.head_dim, device=device).to(dtype)
            for n in (sizes.tokens, sizes.keys, sizes.keys)
        )
        attend = attention_kernel("fa3" if can_use_fa3(device) else "auto")
        return lambda: attend(q, k, v)

    shape = f"q {sizes.tokens}, k {sizes.keys}, {config.num_heads} x {config.head_dim}"
    kind = "fp8_attention" if dtype == FP8 else "attention"
    title = f"attention as it runs, {'fp8' if dtype == FP8 else str(dtype).removeprefix('torch.')}"
    return _measure(title, kind, shape, new, attention(sizes.tokens, sizes.keys, config.dim), sizes, device)


def _copies(sizes: Sizes, device: torch.device) -> list[Ceiling]:
    """Within the device, bytes read plus bytes written; and pinned to the host, bytes moved."""

    def within() -> Callable[[], Tensor]:
        source = torch.randint(0, 255, (sizes.copied,), device=device, dtype=torch.uint8)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)

    def to_host() -> Callable[[], Tensor]:
        if device.type != "cuda":
            raise RuntimeError("needs a GPU")
        source = torch.randint(0, 255, (sizes.copied // 16,), device=device, dtype=torch.uint8)
        target = torch.empty(source.shape, dtype=torch.uint8, pin_memory=True)
        return lambda: target.copy_(source, non_blocking=True)

    mib = sizes.copied >> 20
    return [
        _measure("copy on the device", "bytes", f"{mib} MiB", within, 2.0 * sizes.copied, sizes, device),
        _measure(
            "copy to pinned memory", "host", f"{mib // 16} MiB", to_host, sizes.copied / 16, sizes, device
        ),
    ]


def _measure(
    name: str,
    kind: str,
    shape: str,
    new: Callable[[], Callable[[], object]],
    amount: float,
    sizes: Sizes,
    device: torch.device,
) -> Ceiling:
    try:
        with warnings.catch_warnings(action="ignore"):  # a backend tells so why it cannot run
            took = median_ms(device, [new() for _ in range(3)], sizes.repeats)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        note = str(error).strip().splitlines()[0][:100]
        return Ceiling(name=name, kind=kind, shape=shape, note=note)
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return Ceiling(name=name, kind=kind, shape=shape, median_ms=took, rate=amount / took * 1e3)


def _text(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))
