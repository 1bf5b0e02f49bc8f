"""Probes inside a chunk: stages that the pipeline does not mark itself, launches, syncs and copies of the
ring."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest.mock import patch

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

import streaming.pipeline
from streaming.gpu.stage_clock import StageClock
from streaming.modules.kv_cache import RingKVCache
from streaming.pipeline import LongLivePipeline

LABEL = "stage: "
LAUNCHES = {
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaLaunchCooperativeKernel",
}
GRAPHS = {"cudaGraphLaunch", "cuGraphLaunch"}
SYNCS = {"cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy"}
EVENT_SYNCS = {"cudaEventSynchronize"}  # the clocks read their events with it


class Probe:
    """Marks passes, hints, the clean pass, recache and the autoencoder from outside.

    Hints are part of a pass; where passes are recorded or compiled they cannot be marked apart, and are
    missing from the table: the clean pass is what a pass takes without them.
    """

    def __init__(self, pipeline: LongLivePipeline) -> None:
        self._pipeline = pipeline
        self._role = ""
        self.begin_chunk()

    def begin_chunk(self) -> None:
        self._clock = StageClock(self._pipeline.device)
        self._passes = 0

    def timings_ms(self) -> dict[str, float]:
        """Of the last chunk; waits for the device."""
        return self._clock.timings_ms()

    @contextmanager
    def watching(self) -> Iterator[None]:
        models, passes = self._pipeline.models, self._pipeline.passes
        marked: list[tuple[Any, str, str | None]] = [
            (streaming.pipeline, "recache", "recache"),
            (passes, "write_clean_kv", "clean pass"),
            (passes, "denoise", None),
            (models.transformer, "forward", None),  # with references, and within a recache
            (models.autoencoder, "encode", "autoencoder encode"),
        ]
        if passes.capture is None:
            marked.append((models.transformer, "hints_of_chunk", "hints"))
        with ExitStack() as stack:
            for owner, name, stage in marked:
                around = self._around(getattr(owner, name), stage)
                stack.enter_context(patch.object(owner, name, around))
            yield

    def _around(self, function: Callable[..., Any], stage: str | None) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            name = stage
            if name is None:  # a pass, unless it is part of a stage that is marked already
                if self._role:
                    return function(*args, **kwargs)
                self._passes += 1
                name = f"pass {self._passes}"
            elif name == "hints":
                name = f"hints {self._passes}"
            before, self._role = self._role, self._role or name
            try:
                with record_function(LABEL + name), self._clock.stage(name):
                    return function(*args, **kwargs)
            finally:
                self._role = before

        return run


class Event(Protocol):
    """What is read of a profiler's event."""

    name: str
    time_range: Any  # .start and .end
    device_type: DeviceType


@dataclass(slots=True)
class Calls:
    """Calls of the CUDA runtime during a stage."""

    kernels: int = 0
    graphs: int = 0
    syncs: int = 0
    event_syncs: int = 0
    by_name: dict[str, int] = field(default_factory=dict)


def tally(events: Iterable[Event]) -> dict[str, Calls]:
    """Calls of the whole chunk under "chunk", and of each labelled stage; a stage inside another counts in
    both."""
    on_host = [event for event in events if event.device_type == DeviceType.CPU]
    stages = [event for event in on_host if event.name.startswith(LABEL)]
    found = {"chunk": Calls()} | {stage.name.removeprefix(LABEL): Calls() for stage in stages}
    for event in on_host:
        if not event.name.startswith(("cuda", "cu")):
            continue
        at = event.time_range.start
        inside = {s.name.removeprefix(LABEL) for s in stages if s.time_range.start <= at < s.time_range.end}
        for name in ("chunk", *inside):
            calls = found[name]
            calls.kernels += event.name in LAUNCHES
            calls.graphs += event.name in GRAPHS
            calls.syncs += event.name in SYNCS
            calls.event_syncs += event.name in EVENT_SYNCS
            calls.by_name[event.name] = calls.by_name.get(event.name, 0) + 1
    return found


def profiled(run: Callable[[], object], device: torch.device) -> dict[str, Calls]:
    """Calls during `run`. Slows it down: never time what is profiled. Nothing but labels without a GPU."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)
    with profile(activities=activities) as profiler:
        run()
    return tally(profiler.events() or ())


class RingCopies(TorchDispatchMode):
    """Bytes that operations copy into or out of a stream's ring of keys and values.

    Sees what is dispatched: neither inside a compiled function nor inside a captured graph.
    """

    COPIES = ("index_copy", "copy_", "clone", "_to_copy", "cat", "index_put")

    def __init__(self, cache: RingKVCache) -> None:
        super().__init__()
        buffers = [b for b in (cache.k, cache.v, cache.sink_k) if b is not None]
        self._ring = {b.untyped_storage().data_ptr() for b in buffers}
        self.into = 0
        self.out_of = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # a reshape that has to copy shows its clone
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        result = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name.startswith(self.COPIES):
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            tensors += [t for a in args if isinstance(a, list) for t in a if isinstance(t, torch.Tensor)]
            if name.endswith("_") and self._is_ring(tensors[0]):
                self.into += tensors[-1].numel() * tensors[0].element_size()
            elif any(map(self._is_ring, tensors)):
                self.out_of += result.numel() * result.element_size()
        return result

    def _is_ring(self, tensor: torch.Tensor) -> bool:
        return tensor.device.type != "meta" and tensor.untyped_storage().data_ptr() in self._ring
