"""Laws of the convolution for Hopper that hold without one; what it computes: test_hopper_convolution_gpu."""

import ctypes
import sys
import threading
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from streaming.kernels import hopper_convolution
from streaming.kernels.hopper_convolution import PLANE, begin_compiling, can_convolve, fits, pack, source


@pytest.mark.parametrize(("outputs", "channels"), [(96, 96), (96, 192), (192, 96), (192, 192)])
def test_the_kernel_reads_every_weight_where_it_was_packed(outputs: int, channels: int) -> None:
    """Walks the weights as the kernel does: frames, blocks of 96 channels, taps, pieces of 18432 bytes."""
    weight = torch.arange(outputs * channels * 27.0).remainder(251).view(outputs, channels, 3, 3, 3)
    depth = 18432 // 2 // outputs
    pieces = iter(pack(weight).float().view(-1, depth // 8, outputs, 8))
    for frame in range(3):
        for block in range(0, channels, 96):
            for tap in range(9):
                for channel in range(block, block + 96, depth):
                    wanted = weight[:, channel : channel + depth, frame, tap // 3, tap % 3]
                    got = next(pieces).permute(1, 0, 2).flatten(1)
                    assert torch.equal(got, wanted)
    assert next(pieces, None) is None


@pytest.mark.parametrize(
    ("shape", "takes"),
    [
        ((96, 96, 3, 3, 3), True),
        ((192, 384, 3, 3, 3), True),
        ((384, 384, 3, 3, 3), False),
        ((96, 24, 3, 3, 3), False),
        ((3, 96, 3, 3, 3), False),
        ((192, 192, 3, 1, 1), False),
        ((96, 96, 3, 3), False),
    ],
)
def test_it_takes_wide_convolutions_over_three_frames(shape: tuple[int, ...], takes: bool) -> None:
    assert fits(torch.empty(shape, device="meta")) is takes


def test_host_and_kernel_agree_on_sizes() -> None:
    text = source(192, 192)
    assert "#define KB 48" in text and "#define N 192" in text
    assert "HY * HX * 16 + 80" in text and PLANE == (8 + 2) * (32 + 2) * 16 + 80
    assert "A_STAGES = 2" in text and "__launch_bounds__(384, 1)" in text


def test_kernels_are_compiled_beside_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, by whoever comes first; what the compiler says reaches who needs the kernel."""
    may_compile, sources = threading.Event(), list[bytes]()

    def create(text: bytes, *_: object) -> tuple[int, int]:
        sources.append(text)
        return 0, len(sources)

    def compiled(program: int, *_: object) -> tuple[int]:
        assert may_compile.wait(10)
        return (int(b"#define C 288" in sources[program - 1]),)

    def fill(_: int, buffer: bytes) -> tuple[int]:
        ctypes.memmove(buffer, b"what", 4)
        return (0,)

    nvrtc = SimpleNamespace(
        nvrtcCreateProgram=create,
        nvrtcCompileProgram=compiled,
        nvrtcDestroyProgram=lambda program: (0,),
        nvrtcGetCUBINSize=lambda program: (0, 4),
        nvrtcGetCUBIN=fill,
        nvrtcGetProgramLogSize=lambda program: (0, 4),
        nvrtcGetProgramLog=fill,
    )
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=SimpleNamespace(nvrtc=nvrtc)))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(nvrtc=nvrtc))
    monkeypatch.setattr(hopper_convolution, "_binary", cache(hopper_convolution._binary.__wrapped__))
    for outputs, channels in ((96, 96), (192, 96), (96, 96), (96, 288)):
        begin_compiling(torch.empty(outputs, channels, 3, 3, 3, device="meta"))
    assert not hopper_convolution._binary(96, 96).done()
    may_compile.set()
    assert hopper_convolution._binary(96, 192).result(10) == b"what"
    with pytest.raises(RuntimeError, match="cannot be compiled: what"):
        hopper_convolution._binary(288, 96).result(10)
    hopper_convolution._binary(96, 96).result(10)
    assert len(sources) == 3


def test_there_is_none_on_a_processor() -> None:
    assert not can_convolve(torch.device("cpu"))
