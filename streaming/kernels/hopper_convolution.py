"""The Wan autoencoder's wide convolutions on Hopper's tensor cores, by a kernel of our own.

At 96 channels the library computes 64 outputs at a time and fetches every pixel once for each of 27 taps;
here a pixel is fetched once for nine of them (`hopper_convolution.cu`): 640 instead of 378 TFLOP/s on an H100
(12 frames of 480x832), at 192 channels 696 instead of 602. The compiler that comes with PyTorch compiles it
for each pair of channels and outputs, in about a second, beside what else a start does.
"""

import ctypes
import functools
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streaming.kernels.attention import HOPPER

logger = logging.getLogger(__name__)

FETCHED = 96  # channels of a pixel at a time; channels and outputs are multiples of it
WEIGHT_BYTES = 18432  # fetched at a time
THREADS, STAGES, PLANE = 384, 4, 10 * 34 * 16 + 80  # as the kernel has them

_compilers = ThreadPoolExecutor(thread_name_prefix="nvrtc")  # which leaves Python to others while it compiles


def can_convolve(device: torch.device) -> bool:
    """Whether the kernel runs there: an H100 or H200, and NVIDIA's bindings (they come with PyTorch)."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability(device) != HOPPER:
        return False
    try:
        _kernel(FETCHED, FETCHED, torch.empty(0, device=device).device)
    except (ImportError, OSError, RuntimeError) as error:  # a compiler that is missing, or not of this driver
        logger.warning("The library convolves, which takes a quarter longer to decode: %s", error)
        return False
    return True


def fits(weight: Tensor) -> bool:
    """Whether a convolution of `weight` (O, C, *kernel) is one for the kernel. With more outputs the library
    is faster (777 against 620 TFLOP/s at 384)."""
    outputs, channels, *kernel = weight.shape
    return kernel == [3, 3, 3] and outputs in (FETCHED, 2 * FETCHED) and not channels % FETCHED


def begin_compiling(weight: Tensor) -> None:
    """Have the kernel for a convolution of `weight` (O, C, *kernel) ready, or nearly, when it is needed."""
    _binary(weight.shape[1], weight.shape[0])


def pack(weight: Tensor) -> Tensor:
    """weight (O, C, 3, 3, 3) -> flat bfloat16, in the order in which the kernel reads it: for some outputs,
    every frame, some channels of it and every tap the piece that lies in shared memory at a time, in rows of
    eight channels."""
    outputs, channels = weight.shape[:2]
    width, depth = _piece(outputs)
    pieces = weight.reshape(
        outputs // width, width, channels // FETCHED, FETCHED // depth, depth // 8, 8, 3, 9
    )
    return pieces.permute(0, 6, 2, 7, 3, 4, 1, 5).to(torch.bfloat16).flatten()


@torch.library.custom_op("longlive::convolve", mutates_args=(), device_types="cuda")
def convolve(before: Tensor, x: Tensor, packed: Tensor, bias: Tensor) -> Tensor:
    """A causal convolution in a stream that has begun: x (B, C, T, H, W), `before` (B, C, 2, H, W) the frames
    before it, both bfloat16, `packed` a weight by `pack`, bias (O,) float32 -> (B, O, T, H, W), channels
    last. Sums are float32. Raises ValueError for another type."""
    if x.dtype != torch.bfloat16:
        raise ValueError(f"this convolution takes torch.bfloat16, got {x.dtype}")
    batch, channels, frames, height, width = x.shape
    before, x = (v.contiguous(memory_format=torch.channels_last_3d) for v in (before, x))
    out = _empty(x, len(bias))
    kernel, memory = _kernel(channels, len(bias), x.device)
    values = (*(v.data_ptr() for v in (before, x, packed, bias, out)), batch, frames, height, width)
    types = (ctypes.c_void_p,) * 5 + (ctypes.c_int,) * 4
    blocks = torch.cuda.get_device_properties(x.device).multi_processor_count
    stream = torch.cuda.current_stream(x.device).cuda_stream
    from cuda.bindings import driver  # pyright: ignore[reportMissingImports]

    with torch.cuda.device(x.device):
        _check(driver.cuLaunchKernel(kernel, blocks, 1, 1, THREADS, 1, 1, memory, stream, (values, types), 0))
    return out


@convolve.register_fake
def _(before: Tensor, x: Tensor, packed: Tensor, bias: Tensor) -> Tensor:
    return _empty(x, len(bias))


def _empty(x: Tensor, outputs: int) -> Tensor:
    shape = (x.shape[0], outputs, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)


def _piece(outputs: int) -> tuple[int, int]:
    """Outputs, and channels, of a piece of weights."""
    width = 2 * FETCHED if outputs % (2 * FETCHED) == 0 else FETCHED
    return width, WEIGHT_BYTES // 2 // width


def source(channels: int, outputs: int) -> str:
    """The kernel for a convolution of that many channels."""
    width, depth = _piece(outputs)
    sums = width // 2  # registers
    defined = {
        "STRING(text)": "STRING_(text)",
        "STRING_(text)": "#text",
        "C": channels,
        "O": outputs,
        "N": width,
        "CA": FETCHED,
        "KB": depth,
        "B_STAGES": STAGES,
        "ACCUMULATORS": '"' + ", ".join(f"%{n}" for n in range(sums)) + '"',
        "OPERANDS": ", ".join(f'"+f"(d[{n}])' for n in range(sums)),
        "DESC_A": sums,
        "DESC_B": sums + 1,
        "FLAG": sums + 2,
    }
    lines = (f"#define {name} {value}" for name, value in defined.items())
    return "\n".join((*lines, Path(__file__).with_suffix(".cu").read_text()))


@functools.cache
def _binary(channels: int, outputs: int) -> Future[bytes]:
    return _compilers.submit(_compile, channels, outputs)


def _compile(channels: int, outputs: int) -> bytes:
    """The kernel, for Hopper. Raises ImportError without NVIDIA's bindings, RuntimeError with what the
    compiler says."""
    from cuda.bindings import nvrtc  # pyright: ignore[reportMissingImports]

    program = _check(nvrtc.nvrtcCreateProgram(source(channels, outputs).encode(), b"convolve.cu", 0, [], []))
    options = [b"--gpu-architecture=sm_90a", b"--std=c++17"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if status:
        log = b" " * _check(nvrtc.nvrtcGetProgramLogSize(program))
        _check(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(f"hopper_convolution.cu cannot be compiled: {log.decode()}")
    binary = b" " * _check(nvrtc.nvrtcGetCUBINSize(program))
    _check(nvrtc.nvrtcGetCUBIN(program, binary))
    _check(nvrtc.nvrtcDestroyProgram(program))
    return binary


@functools.cache
def _kernel(channels: int, outputs: int, device: torch.device) -> tuple[Any, int]:
    """A kernel's handle, and the bytes of shared memory that it takes."""
    from cuda.bindings import driver  # pyright: ignore[reportMissingImports]

    binary = _binary(channels, outputs).result()
    memory = 2 * FETCHED // 8 * PLANE + STAGES * WEIGHT_BYTES + 16 * (2 + STAGES)
    with torch.cuda.device(device):
        module = _check(driver.cuModuleLoadData(binary))
        kernel = _check(driver.cuModuleGetFunction(module, b"convolve"))
        most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _check(driver.cuFuncSetAttribute(kernel, most, memory))
    return kernel, memory


def _check(answer: tuple[Any, ...]) -> Any:
    """What a call of the bindings gave. Raises RuntimeError for one that failed."""
    status, *results = answer
    if status:
        raise RuntimeError(f"the GPU's driver says {status!r}")
    return results[0] if results else None
