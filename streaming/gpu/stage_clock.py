"""Times of a chunk's stages. On a GPU they are timed there, without waiting for it in between."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self

import torch


class _Mark(Protocol):
    def ms_until(self, end: Self) -> float: ...


class _HostMark:
    def __init__(self) -> None:
        self.at = time.perf_counter()

    def ms_until(self, end: "_HostMark") -> float:
        return (end.at - self.at) * 1e3


class _CudaMark:
    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def ms_until(self, end: "_CudaMark") -> float:
        end.event.synchronize()
        return self.event.elapsed_time(end.event)


class StageClock:
    """Collects stages in order; a stage met twice adds up."""

    def __init__(self, device: torch.device) -> None:
        self._mark: type[_Mark] = _CudaMark if device.type == "cuda" else _HostMark
        self._spans: list[tuple[str, _Mark, _Mark]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = self._mark()
        yield
        self._spans.append((name, begin, self._mark()))

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage. Waits for the device, so ask when the chunk is done."""
        totals: dict[str, float] = {}
        for name, begin, end in self._spans:
            totals[name] = totals.get(name, 0.0) + begin.ms_until(end)
        return totals
