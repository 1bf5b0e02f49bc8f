"""Facts of the machine: memory, start-up time, its name; and a compile cache that is cold."""

import gc
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@contextmanager
def cold_cache() -> Iterator[None]:
    """Compile caches that are empty now and gone afterwards; processes started meanwhile share them."""
    with tempfile.TemporaryDirectory(prefix="compile-cache-") as folder:
        with patch.dict(os.environ, {name: str(Path(folder, name)) for name in CACHES}):
            yield


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def allocated(device: torch.device) -> int:
    """Bytes of tensors on a GPU; 0 on a CPU, where nobody counts them."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def free() -> None:
    """Let go of what nobody holds any more, cached memory of the device included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_bytes(device: torch.device) -> int:
    """Most bytes of tensors at once; on a CPU the most that the process has held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def process_age_s() -> float | None:
    """Seconds since this process was started, imports included; None where the system does not tell."""
    try:
        begun = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - begun / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def about(device: torch.device) -> dict[str, Any]:
    """Names and versions."""
    is_cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device)
        if is_cuda
        else f"cpu ({torch.get_num_threads()} threads)",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if is_cuda else None,
        "python": platform.python_version(),
    }
