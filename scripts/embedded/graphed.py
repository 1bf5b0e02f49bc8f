"""Training steps without launch overhead: gradients in one flat buffer, forward and backward as a CUDA
graph."""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scripts.embedded.world import World

WARM_UP = 3  # eager calls before a capture, in which libraries choose their kernels


class Gradients:
    """All gradients as views of one buffer: zeroed, averaged between processes and clipped in a few
    kernels."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.flat = torch.zeros(sum(p.numel() for p in self.parameters), device=self.parameters[0].device)
        at = 0
        for p in self.parameters:  # in the parameter's own layout, channels last or not
            p.grad = torch.as_strided(self.flat, p.shape, p.stride(), at)
            at += p.numel()

    def finish(self, world: World, *, norm: float = 1.0) -> None:
        """Average over the processes, then scale down to `norm` where larger."""
        if world.size > 1:
            dist.all_reduce(self.flat)
            self.flat.div_(world.size)
        self.flat.mul_((norm / (self.flat.norm() + 1e-6)).clamp(max=1.0))


class Graphed:
    """`work` reads and writes tensors that stay where they are; after some eager calls CUDA replays it whole.

    What it returns is overwritten by the next call. Elsewhere than on CUDA it is simply called.
    """

    def __init__(self, work: Callable[[], tuple[Tensor, ...]], device: torch.device) -> None:
        self._work = work
        self._device = device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: tuple[Tensor, ...] = ()

    def __call__(self) -> tuple[Tensor, ...]:
        if self._device.type != "cuda":
            return self._work()
        if self._graph is None and self._calls < WARM_UP:
            self._calls += 1
            side = torch.cuda.Stream(self._device)
            side.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(side):
                result = self._work()
            torch.cuda.current_stream(self._device).wait_stream(side)
            return result
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # Only this thread's calls are forbidden while it captures: the process group's watchdog goes on.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = self._work()
        self._graph.replay()
        return self._result
