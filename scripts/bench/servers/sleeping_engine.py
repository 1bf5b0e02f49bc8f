"""Engine that sleeps for as long as a GPU works, for trials of many workers on a few cores.

Its pictures are flat, and count its frames in red.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scripts.bench.servers.loopback_ice import offer_loopback
from streaming.api import ChunkParameters, ChunkResult, EngineInfo, WeightedPrompts

WIDTH, HEIGHT = 64, 48
CHUNK_BYTES = 600_000
CHUNK_S = 0.5  # for 12 frames: 24 a second, as a stream on a GPU has


@dataclass(frozen=True)
class SleepingSnapshot:
    """All that a stream remembers, and as much more as a chunk's new latents take at 832x480."""

    frames_wanted: int
    chunk: int
    frame: int

    def names(self) -> tuple[str, ...]:
        return "stream", f"latents/{self.chunk}"

    def parts(self, without: Collection[str] = ()) -> dict[str, bytes]:
        parts = zip(self.names(), (json.dumps(asdict(self)).encode(), bytes(CHUNK_BYTES)), strict=True)
        return {name: data for name, data in parts if name not in without}


@dataclass
class SleepingStream:
    frames_wanted: int = 9
    chunk: int = 0
    frame: int = 0

    def snapshot(self, before: SleepingSnapshot | None = None) -> SleepingSnapshot:
        return SleepingSnapshot(self.frames_wanted, self.chunk, self.frame)

    def look_ahead(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(pictures)

    def recache_ahead(self, prompts: WeightedPrompts) -> None: ...

    def step(
        self,
        frames: Sequence[Any],
        asked: Callable[[], ChunkParameters],
        on_frames: Callable[[ChunkResult], None],
    ) -> ChunkResult:
        asked()
        time.sleep(CHUNK_S)
        count = self.frames_wanted
        pictures = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
        pictures[..., 0] = ((self.frame + np.arange(count)) % 256)[:, None, None]
        result = ChunkResult(
            frames=pictures,
            chunk=self.chunk,
            first_frame=self.frame,
            frames_in_chunk=count,
            generation=0,
            guidance_scale=1.0,
            timings_ms={"total": 1000 * CHUNK_S},
        )
        on_frames(result)
        self.frame += count
        self.chunk, self.frames_wanted = self.chunk + 1, 12
        return result


class SleepingEngine:
    info = EngineInfo(
        model="sleeping",
        trained=False,
        depth="none",
        device="cpu",
        dtype="none",
        width=WIDTH,
        height=HEIGHT,
        steps=(1000,),
        about="sleeps as long as a GPU works",
        looks=(),
    )

    @classmethod
    def load(cls, **arguments: object) -> "SleepingEngine":
        return cls()

    def warm_up(self) -> float:
        return 12 / CHUNK_S

    def encode(self, texts: Sequence[str]) -> None: ...

    def prepare(self) -> bool:
        return False

    def memory_bytes(self) -> int:
        return 0

    def flush(self) -> None: ...

    def check_device(self) -> None: ...

    def open(self, *, prompt: str, seed: int) -> SleepingStream:
        return SleepingStream()

    def restore(self, parts: Mapping[str, bytes]) -> SleepingStream:
        return SleepingStream(**json.loads(parts["stream"]))


def import_sleeping_engine() -> Any:
    """For EngineClient, in the process that has the engine. Connections offer 127.0.0.1 there, if there is
    nothing else."""
    offer_loopback()
    return SleepingEngine
