"""What a probe counts inside a chunk is what the profiler saw there."""

import json
from dataclasses import asdict, dataclass

import torch
from torch.autograd import DeviceType

from scripts.bench.engine import probe


@dataclass
class Range:
    start: float
    end: float


@dataclass
class Event:
    name: str
    time_range: Range
    device_type: DeviceType = DeviceType.CPU


def test_calls_are_counted_in_every_stage_around_them() -> None:
    events = [
        Event("stage: pass 1", Range(0, 10)),
        Event("stage: hints 1", Range(1, 5)),
        Event("stage: pass 1", Range(0, 10), DeviceType.CUDA),  # the same label on the device's line
        Event("cudaLaunchKernel", Range(2, 3)),
        Event("cuLaunchKernelEx", Range(6, 7)),
        Event("cudaGraphLaunch", Range(8, 9)),
        Event("cudaStreamSynchronize", Range(12, 13)),
        Event("cudaEventSynchronize", Range(14, 15)),
    ]
    found = probe.tally(events)
    assert [found[name].kernels for name in ("chunk", "pass 1", "hints 1")] == [2, 2, 1]
    assert (found["chunk"].graphs, found["chunk"].syncs, found["pass 1"].syncs) == (1, 1, 0)
    assert found["chunk"].event_syncs == 1
    assert json.loads(json.dumps({name: asdict(calls) for name, calls in found.items()}))


def test_the_profiler_sees_the_labels() -> None:
    def run() -> None:
        with torch.profiler.record_function(probe.LABEL + "pass 1"):
            torch.ones(2).add_(1)

    assert probe.profiled(run, torch.device("cpu"))["pass 1"].kernels == 0
