"""Server with the built-in model on a GPU in a process of its own, for a test of a kernel that never ends.

python -m tests.server.own_gpu_process serve --device cuda --port 8090 ...

The prompt "hang" starts a kernel that takes a quarter of an hour, longer than anybody waits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

import server.cli
import server.restart
from scripts.bench.servers.loopback_ice import ice_on_loopback
from streaming.stream import LiveStream

CYCLES = 15 * 60 * 1_500_000_000  # of the GPU's clock; bounded, so that not even a lost process keeps the GPU

original = LiveStream.step


def step(self: LiveStream, frames: Sequence[Any], asked: Callable[[], Any], on_frames: Any = None) -> Any:
    def seen() -> Any:
        parameters = asked() if callable(asked) else asked  # a warm-up knows what it asks
        if any(text == "hang" for text, _ in parameters.prompts or ()):
            torch.cuda._sleep(CYCLES)
        return parameters

    return original(self, frames, seen, on_frames)


if __name__ == "__main__":
    LiveStream.step = step  # type: ignore[method-assign]
    server.restart.PERIOD_S = 0.0
    with ice_on_loopback():
        server.cli.app()
