"""Seam of a failover: how long a stream is without pictures when it goes on elsewhere, and how like it stays.

python -m scripts.failover_seam --json out/seam.json
python -m scripts.failover_seam --model longlive-1.3b --random-weights --device cuda --speed fast

One stream is never moved. Beside it go on, with the same camera pictures: one restored of the journal, and
one that begins anew with the same prompt and seed, as without a journal. Likeness is PSNR of the pictures to
those of the stream that was never moved. The time without pictures begins when the loss is noticed and ends
with the first pictures; how long a client takes to come back is not in it.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Annotated, TypeVar

import numpy as np
import typer

from scripts.json_file import JsonFile, write_json
from server.journal.memory import MemoryJournal
from server.journal.record import Record
from streaming.api import ChunkParameters, ChunkResult, Speed
from streaming.engine import StreamEngine
from streaming.snapshot import StreamSnapshot
from streaming.stream import LiveStream

T = TypeVar("T")


@dataclass(slots=True)
class Seam:
    """Figures of one failover; PSNR in dB, chunk by chunk after it."""

    model: str
    device: str
    size: str
    chunks_before: int
    chunk_ms: float = 0.0  # median, of the stream that was never moved
    snapshot_ms: float = 0.0  # median, in the engine's thread
    bytes_ms: float = 0.0  # median, in another thread
    put_bytes: int = 0  # of a chunk's record, median
    whole_bytes: int = 0  # of a record with all parts
    get_ms: float = 0.0  # the whole record of the journal, and its parts
    restore_ms: float = 0.0
    first_pictures_ms: float = 0.0
    without_pictures_s: float = 0.0
    without_pictures_chunks: float = 0.0  # the same in times of a chunk, which a busy machine changes less
    restored_db: list[float] = field(default_factory=list[float])
    anew_db: list[float] = field(default_factory=list[float])


class Camera:
    """A head and an arm that move before a slope: the same pictures for every stream that begins at 0."""

    def __init__(self, height: int, width: int, at: int = 0) -> None:
        self._y, self._x = np.mgrid[:height, :width].astype(np.float32) / height
        self._middle = width / height / 2
        self.at = at

    def take(self, count: int) -> list[np.ndarray]:
        """The next pictures (H, W, 3) uint8."""
        self.at += count
        return [self._picture(number / 16) for number in range(self.at - count, self.at)]

    def _picture(self, time: float) -> np.ndarray:
        x, y = self._x - self._middle - 0.2 * math.sin(1.3 * time), self._y
        picture = np.stack([90 + 50 * x, 120 - 40 * y, 100 + 30 * (x + y)], axis=-1)
        picture[(x / 0.4) ** 2 + ((y - 1.05) / 0.4) ** 2 < 1] = 60, 90, 140
        shade = 1 - 0.5 * ((x / 0.17) ** 2 + ((y - 0.42) / 0.21) ** 2)
        head = shade > 0.5
        picture[head] = shade[head, None] * np.array([210, 170, 140])
        turn = 2.7 * time
        hand = (x - 0.4 * math.cos(turn)) ** 2 + (y - 0.7 - 0.25 * math.sin(turn)) ** 2 < 0.006
        picture[hand] = 200, 160, 130
        return np.clip(picture, 0, 255).astype(np.uint8)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels of pictures (T, H, W, 3) uint8; the same ones give 100."""
    error = np.square((one.astype(np.float64) - other) / 255).mean()
    return round(-10 * math.log10(max(error, 1e-10)), 1)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What comes of it, and milliseconds."""
    began = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - began) * 1000


class Journaled:
    """A stream whose chunks go into a journal, as a server has it, with what that costs."""

    def __init__(self, engine: StreamEngine, journal: MemoryJournal, prompt: str, seed: int) -> None:
        self.stream = engine.open(prompt=prompt, seed=seed)
        self._engine, self._journal = engine, journal
        self._snapshot: StreamSnapshot | None = None
        self._known: frozenset[str] = frozenset()
        self.snapshot_ms, self.bytes_ms, self.put_bytes = list[float](), list[float](), list[int]()

    async def chunk(self, pictures: list[np.ndarray]) -> tuple[ChunkResult, float]:
        """The chunk, and its milliseconds without the journal's."""
        result, took = timed(lambda: chunk_of(self._engine, self.stream, pictures))
        snapshot, copying = timed(lambda: self.stream.snapshot(self._snapshot))
        self._snapshot = snapshot
        record, packing = timed(
            lambda: Record(0, snapshot.names(), snapshot.parts(without=self._known)).encode()
        )
        answer = await self._journal.put("one", record)
        assert not answer.missing, "nobody else writes there"
        self._known = frozenset(snapshot.names())
        self.snapshot_ms.append(copying)
        self.bytes_ms.append(packing)
        self.put_bytes.append(len(record))
        return result, took


def chunk_of(engine: StreamEngine, stream: LiveStream, pictures: list[np.ndarray]) -> ChunkResult:
    result = stream.step(pictures, ChunkParameters())
    engine.flush()
    return result


async def measure(engine: StreamEngine, prompt: str, seed: int, before: int, after: int) -> Seam:
    """One stream is lost after `before` chunks, and compared for `after` more."""
    info, journal = engine.info, MemoryJournal()
    camera = Camera(info.height, info.width)
    kept = Journaled(engine, journal, prompt, seed)
    seam = Seam(info.model, info.device, f"{info.width}x{info.height}", before)
    took = [(await kept.chunk(camera.take(kept.stream.frames_wanted)))[1] for _ in range(before)]
    seam.chunk_ms = median(took[1:])
    seam.snapshot_ms, seam.bytes_ms = median(kept.snapshot_ms), median(kept.bytes_ms)
    seam.put_bytes = round(median(kept.put_bytes))

    began = time.perf_counter()
    whole = await journal.get("one")
    assert whole is not None, "it has just been put"
    parts = Record.decode(whole).given
    seam.whole_bytes, seam.get_ms = len(whole), (time.perf_counter() - began) * 1000
    restored, seam.restore_ms = timed(lambda: engine.restore(parts))
    others = {"restored": restored, "anew": engine.open(prompt=prompt, seed=seed)}
    figures = {"restored": seam.restored_db, "anew": seam.anew_db}
    for number in range(after):
        pictures = camera.take(12)
        never_moved = kept.stream.step(pictures, ChunkParameters()).frames
        engine.flush()
        for name, stream in others.items():
            came: list[float] = []
            start = time.perf_counter()
            result = stream.step(
                pictures[-stream.frames_wanted :],
                ChunkParameters(),
                lambda _, came=came: came.append(time.perf_counter()),
            )
            engine.flush()
            if name == "restored" and not number:
                seam.first_pictures_ms = (came[0] - start) * 1000
            figures[name].append(psnr(result.frames, never_moved[-len(result.frames) :]))
    without_ms = seam.get_ms + seam.restore_ms + seam.first_pictures_ms
    seam.without_pictures_s, seam.without_pictures_chunks = without_ms / 1000, without_ms / seam.chunk_ms
    return seam


def table(seam: Seam) -> str:
    """The figures, for people."""
    likeness = zip(seam.restored_db, seam.anew_db, strict=True)
    return "\n".join(
        [
            f"{seam.model} on {seam.device}, {seam.size}, lost after {seam.chunks_before} chunks of "
            f"{seam.chunk_ms:.0f} ms",
            f"journal, a chunk: {seam.snapshot_ms:.2f} ms of the engine's thread, {seam.bytes_ms:.2f} ms of "
            f"another, {seam.put_bytes / 1e3:.0f} kB (whole record: {seam.whole_bytes / 1e3:.0f} kB)",
            f"without pictures {seam.without_pictures_s:.2f} s, {seam.without_pictures_chunks:.1f} chunks: "
            f"record {seam.get_ms:.0f} ms, re-priming {seam.restore_ms:.0f} ms, first pictures "
            f"{seam.first_pictures_ms:.0f} ms",
            "chunk after   restored    begun anew   (PSNR to the stream that was never moved)",
            *(
                f"{number:11}   {near:5.1f} dB    {far:5.1f} dB"
                for number, (near, far) in enumerate(likeness, 1)
            ),
        ]
    )


def main(
    model: Annotated[str, typer.Option(help="A preset: embedded or longlive-1.3b.")] = "embedded",
    random_weights: Annotated[bool, typer.Option("--random-weights", help="Draw all weights.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    speed: Annotated[Speed, typer.Option(help="exact or fast.")] = "exact",
    prompt: Annotated[str, typer.Option(help="Of all streams.")] = "a statue of molten gold",
    seed: Annotated[int, typer.Option(min=0, help="Of all streams.")] = 1,
    before: Annotated[int, typer.Option(min=2, help="Chunks before the loss.")] = 8,
    after: Annotated[int, typer.Option(min=1, help="Chunks that are compared after it.")] = 4,
    json: JsonFile = None,
) -> None:
    """Measure the seam of a failover."""
    engine = StreamEngine.load(model=model, random_weights=random_weights, device=device, speed=speed)
    engine.warm_up()
    seam = asyncio.run(measure(engine, prompt, seed, before, after))
    print(table(seam))
    write_json(json, asdict(seam))


if __name__ == "__main__":
    typer.run(main)
