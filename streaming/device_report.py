"""Report on the device that a server would run on, and the optimizations that it would use there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path

import torch

from streaming.acceleration import FP8_SINCE, Optimizations, optimizations_for
from streaming.api import Precision, Speed
from streaming.checkpoints.precision import choose_dtype
from streaming.engine import choose_device
from streaming.gpu.compile_cache import cache_folder
from streaming.kernels.attention import HOPPER, can_use_fa3

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
FA3, TRITON = "fa3-fwd", "triton"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    name: str = "CPU"
    problem: str | None = None  # why the device that was asked for cannot be used
    driver: str | None = None  # of NVIDIA, if there is one
    capability: tuple[int, int] | None = None  # None: no GPU is used
    memory_bytes: int = 0
    free_bytes: int = 0
    optimizations: Mapping[str, str | None] = field(
        default_factory=dict[str, str | None]
    )  # None: used; else why not
    installable: tuple[str, ...] = ()  # packages without which some of them are not used
    compile_folder: Path | None = None  # None: nobody knows where home is


def device_report(device: str, speed: Speed, precision: Precision, cache_dir: Path | None) -> DeviceReport:
    """What the settings of these names would run on."""
    driver = driver_version()
    try:
        folder = cache_folder(cache_dir)
    except RuntimeError:
        folder = None
    try:
        chosen = choose_device(device)
    except ValueError as error:
        return DeviceReport(problem=str(error), driver=driver, compile_folder=folder)
    if chosen.type != "cuda":
        return DeviceReport(driver=driver, compile_folder=folder)
    dtype = choose_dtype(precision, chosen)
    capability, (free, total) = torch.cuda.get_device_capability(chosen), torch.cuda.mem_get_info(chosen)
    has_triton, has_fa3 = find_spec("triton") is not None, can_use_fa3(chosen)
    reasons = unused_because(
        optimizations_for(speed, chosen, dtype),
        speed=speed,
        is_bfloat16=dtype == torch.bfloat16,
        capability=capability,
        has_triton=has_triton,
        has_fa3=has_fa3,
    )
    return DeviceReport(
        name=torch.cuda.get_device_name(chosen),
        driver=driver,
        capability=capability,
        memory_bytes=total,
        free_bytes=free,
        optimizations=reasons,
        installable=missing_packages(capability, has_triton=has_triton, has_fa3=has_fa3),
        compile_folder=folder,
    )


def missing_packages(capability: tuple[int, int], *, has_triton: bool, has_fa3: bool) -> tuple[str, ...]:
    """What a card of this capability would gain by."""
    fa3 = (FA3,) if capability == HOPPER and not has_fa3 else ()
    return fa3 if has_triton else (*fa3, TRITON)


def unused_because(
    chosen: Optimizations,
    *,
    speed: Speed,
    is_bfloat16: bool,
    capability: tuple[int, int],
    has_triton: bool,
    has_fa3: bool,
) -> dict[str, str | None]:
    """By optimization: why it is not used; None if it is. `chosen` as `optimizations_for` has it."""
    no_triton = None if has_triton else f"{TRITON} is not installed"
    no_bfloat16 = None if is_bfloat16 else "the precision is not bfloat16"
    not_hopper = None if capability == HOPPER else "it is for cards of capability 9.0"
    no_fa3 = not_hopper or (None if has_fa3 else f"{FA3} is not installed")
    no_fp8 = (
        ("speed is exact" if speed != "fast" else None)
        or no_bfloat16
        or (None if capability >= FP8_SINCE else "the card multiplies no fp8")
    )
    # `packs` is part of `fuses`; `attention` is the name of a kernel.
    reasons: dict[str, str | None] = {
        "fuses": no_triton,
        "compiles": no_triton,
        "fp8": no_fp8,
        "fp8_attention": no_fp8 or no_fa3 or no_triton,
        "hopper_conv": no_bfloat16 or not_hopper,
    }
    found: dict[str, str | None] = {}
    for one in fields(Optimizations):
        if one.name == "attention":
            found["FlashAttention-3"] = None if chosen.attention == "fa3" else no_fa3 or "not chosen"
        elif one.name != "packs":
            is_used = getattr(chosen, one.name)
            found[one.name] = None if is_used else reasons.get(one.name) or "not chosen"
    return found


def driver_version(file: Path = NVIDIA_DRIVER) -> str | None:
    """Of the kernel's NVIDIA driver; None if there is none."""
    try:
        found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", file.read_text())
    except OSError:
        return None
    return found[0] if found else None
