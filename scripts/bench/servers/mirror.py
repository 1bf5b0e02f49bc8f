"""Server whose engine sleeps for as long as a GPU works, and shows each camera frame's own brightness.

python -m scripts.bench.servers.mirror --port 8080
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import typer

from scripts.bench.servers.loopback_ice import offer_loopback
from scripts.bench.servers.sleeping_engine import HEIGHT, WIDTH, SleepingEngine, SleepingStream
from server.app import create_app, listening
from server.engine.client import EngineClient
from server.settings import load_settings
from streaming.api import ChunkParameters, ChunkResult

CHUNK_S = (0.3, 0.4)  # least and most, at random: a GPU's vary less


@dataclass
class MirrorStream(SleepingStream):
    generation: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def step(
        self,
        frames: Sequence[Any],
        asked: Callable[[], ChunkParameters],
        on_frames: Callable[[ChunkResult], None],
    ) -> ChunkResult:
        if asked().reset:
            self.generation, self.chunk = self.generation + 1, 0
        time.sleep(self.rng.uniform(*CHUNK_S))
        shown = frames[-9:] if self.chunk == 0 else frames
        pictures = np.zeros((len(shown), HEIGHT, WIDTH, 3), np.uint8)
        pictures[:] = np.array([round(float(frame.mean())) for frame in shown])[:, None, None, None]
        result = ChunkResult(
            frames=pictures,
            chunk=self.chunk,
            first_frame=self.frame,
            frames_in_chunk=len(shown),
            generation=self.generation,
            guidance_scale=1.0,
            timings_ms={"total": 1000 * CHUNK_S[1]},
        )
        on_frames(result)
        self.frame += len(shown)
        self.chunk, self.frames_wanted = self.chunk + 1, 12
        return result


class MirrorEngine(SleepingEngine):
    info = replace(SleepingEngine.info, model="mirror", about="shows the camera's brightness")

    def open(self, *, prompt: str, seed: int) -> MirrorStream:
        return MirrorStream()


def main(port: Annotated[int, typer.Option(min=0, max=65535)] = 8080) -> None:
    """Serve on loopback until Ctrl-C."""
    offer_loopback()
    asyncio.run(_serve(port))


async def _serve(port: int) -> None:
    settings, stopped = load_settings({"port": port}), asyncio.Event()
    make: Any = lambda: MirrorEngine  # noqa: E731 -- of an engine's interface it has what the server uses
    async with listening(settings, create_app(settings, EngineClient(settings, make))):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()


if __name__ == "__main__":
    typer.run(main)
