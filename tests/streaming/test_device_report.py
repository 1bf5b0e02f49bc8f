import pytest
import torch

from streaming.acceleration import Optimizations
from streaming.device_report import device_report, driver_version, missing_packages, unused_because

ALL = Optimizations(
    packs=True,
    fuses=True,
    fp8=True,
    fp8_attention=True,
    side_stream=True,
    graphs=True,
    attention="fa3",
    compiles=True,
    channels_last=True,
    hopper_conv=True,
)
BEST = {"speed": "fast", "is_bfloat16": True, "capability": (9, 0), "has_triton": True, "has_fa3": True}


def test_law_what_is_used_has_no_reason():
    assert set(unused_because(ALL, **BEST).values()) == {None}


@pytest.mark.parametrize(
    ("machine", "name", "words"),
    [
        ({"speed": "exact"}, "fp8", "speed is exact"),
        ({"is_bfloat16": False}, "fp8", "bfloat16"),
        ({"capability": (8, 0)}, "fp8", "no fp8"),
        ({"capability": (8, 9)}, "FlashAttention-3", "9.0"),
        ({"capability": (8, 9)}, "hopper_conv", "9.0"),
        ({"has_fa3": False}, "FlashAttention-3", "fa3-fwd"),
        ({"has_fa3": False}, "fp8_attention", "fa3-fwd"),
        ({"has_triton": False}, "fuses", "triton"),
        ({"has_triton": False}, "compiles", "triton"),
        ({}, "graphs", "not chosen"),
    ],
)
def test_what_is_not_used_has_the_reason(machine, name, words):
    assert words in (unused_because(Optimizations(), **{**BEST, **machine})[name] or "")


def test_packages_are_named_where_a_card_gains_by_them():
    assert missing_packages((9, 0), has_triton=False, has_fa3=False) == ("fa3-fwd", "triton")
    assert missing_packages((8, 9), has_triton=True, has_fa3=False) == ()


def test_a_device_that_is_not_there_is_a_problem(tmp_path):
    report = device_report("tpu", "exact", "auto", tmp_path)
    assert "tpu" in (report.problem or "") and report.compile_folder == tmp_path


def test_a_cpu_has_no_capability():
    report = device_report("cpu", "fast", "auto", None)
    assert (report.problem, report.capability, report.optimizations) == (None, None, {})


def test_the_driver_is_read(tmp_path):
    file = tmp_path / "version"
    assert driver_version(file) is None
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26\n")
    assert driver_version(file) == "570.124.06"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_described():
    report = device_report("cuda", "fast", "auto", None)
    assert report.capability is not None and report.memory_bytes >= report.free_bytes > 0
    assert report.optimizations["graphs"] is None
