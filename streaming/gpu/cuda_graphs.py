"""CUDA graphs: whole passes in one launch, repeated on the same memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CapturedGraph:
    """`replay` repeats everything on what the inputs' memory holds now; the result is in `output` again."""

    output: Tensor
    replay: Callable[[], object]


class GraphCapture(Protocol):
    def __call__(self, run: Callable[[], Tensor], /) -> CapturedGraph:
        """Call `run` and capture it. It must read and write only memory that stays where it is, and neither
        wait for the device nor depend on what it holds."""
        ...


class CudaGraphs:
    """Captures CUDA graphs. All share one pool of memory: no two may run at the same time, and an output is
    used up before another graph is replayed."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, run: Callable[[], Tensor], /) -> CapturedGraph:
        run()  # what compiles or plans itself when it is first met must not do so while captured
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may use the device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = run()
        self._pool = graph.pool()
        return CapturedGraph(output, graph.replay)
