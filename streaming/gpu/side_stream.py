"""A second CUDA stream: where one kernel leaves multiprocessors idle, another fills them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Work(Protocol):
    def __call__(self, *, launched: Callable[[int], object]) -> dict[int, Tensor]:
        """Launch what computes several results, and say `launched` with each one's key once it is."""
        ...


class SideStream:
    """A CUDA stream of its own. What it does can be part of a CUDA graph, if it is waited for there."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def results(self, work: Work) -> Mapping[int, Tensor]:
        """Begin `work`, after all that was asked of the current stream. Its results come at once; reading one
        from the mapping makes the then current stream wait for it. Keep the mapping, and what `work` reads,
        until all results have been read."""
        events: dict[int, torch.cuda.Event] = {}
        results: dict[int, Tensor] = {}

        def launched(key: int) -> None:
            events[key] = torch.cuda.Event()
            events[key].record(self._stream)

        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            results.update(work(launched=launched))
        return _Awaited(results, events)


class _Awaited(Mapping[int, Tensor]):
    def __init__(self, results: dict[int, Tensor], events: dict[int, torch.cuda.Event]) -> None:
        self._results, self._events = results, events

    def __getitem__(self, key: int) -> Tensor:
        result = self._results[key]
        torch.cuda.current_stream().wait_event(self._events[key])
        return result

    def __iter__(self) -> Iterator[int]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)
