"""Cost of a chunk, stage by stage, beside what the device could do: one table and JSON.

python -m scripts.bench.pipeline --model longlive-1.3b --random-weights --json out/exact.json
python -m scripts.bench.pipeline --random-weights --preset fast --guidance none
python -m scripts.bench.pipeline --random-weights --guidance both --check 10
python -m scripts.bench.pipeline --random-weights --guidance controls       # gray beside depth, and its price
python -m scripts.bench.pipeline --random-weights --guidance noise          # noise scale 1, 0.8 and 0.6
python -m scripts.bench.pipeline --random-weights --guidance latency        # each choice of latency
python -m scripts.bench.pipeline --random-weights --gpus 2                  # a stream's passes by two GPUs
python -m scripts.bench.pipeline --model embedded --eager --chunks 8

Chunks run as a server runs them, from camera pictures to `uint8`, with a server's optimizations, or none
(`--eager`); scripts/bench/optimizations.py has each alone. Stages are timed between events on the device
(perf_counter on a CPU), read when the chunk is over. "Without hints" and "copy out and rest" are differences
of medians' parts, chunk by chunk.
"""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import typer

from scripts.bench.engine import equality, machine, measured_engine, table
from scripts.bench.engine.chunk_costs import Bench, Guided
from scripts.json_file import JsonFile, write_json
from streaming.acceleration import Optimizations, optimizations_for
from streaming.api import EngineInfo, LatencyLevel
from streaming.config import parse_size
from streaming.engine import StreamEngine, choose_device, number_of_ranks

ROOT = Path(__file__).resolve().parents[2]
LATENCIES: tuple[LatencyLevel, ...] = get_args(LatencyLevel)  # the first is the model's own
DEPTH, NONE = Guided("depth", ("depth",)), Guided("none")
KINDS = {  # tables of an option
    "depth": (DEPTH,),
    "none": (NONE,),
    "both": (DEPTH, NONE),
    "controls": (DEPTH, Guided("depth+gray", ("depth", "gray"))),
    "noise": (DEPTH, *(Guided(f"noise {scale}", ("depth",), scale) for scale in (0.8, 0.6))),
    "latency": (DEPTH, *(Guided(f"latency {one}", ("depth",), latency=one) for one in LATENCIES[1:])),
}


def main(
    model: Annotated[str, typer.Option(help="A preset: longlive-1.3b or embedded.")] = "longlive-1.3b",
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Draw all weights: same speed, nothing to download.")
    ] = False,
    preset: Annotated[
        Literal["exact", "fast"],
        typer.Option(
            help="exact: bf16 (float32 on a CPU), the model's own autoencoder encodes and decodes. fast: "
            "TAEHV decodes, and on a GPU products are fp8."
        ),
    ] = "exact",
    guidance: Annotated[
        Literal["depth", "none", "both", "controls", "noise", "latency"],
        typer.Option(
            help="What guides the passes. Several tables, a list in JSON: depth and none (both), depth alone "
            "and with gray beside it (controls), depth from noise and from the camera (noise), or at each "
            "latency that people can choose (latency)."
        ),
    ] = "depth",
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=50, help="Denoising passes a chunk.")] = None,
    chunks: Annotated[int, typer.Option(min=2, help="Chunks timed, once the window is full.")] = 30,
    pulls: Annotated[
        bool, typer.Option("--compile/--eager", help="The optimizations of the preset (on a GPU), or none.")
    ] = True,
    check: Annotated[int, typer.Option(min=0, help="Chunks compared with the plain pipeline's.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    gpus: Annotated[str, typer.Option(help="GPUs that work on a stream together: a number, or auto.")] = "1",
    warm_start: Annotated[
        bool,
        typer.Option(
            help="Also time a process that finds a compile cache, and with --check one that does not."
        ),
    ] = True,
    json_file: JsonFile = None,
    start_only: Annotated[bool, typer.Option("--start-only", hidden=True)] = False,
) -> None:
    """Time a model's chunks against the measured ceilings of the device."""
    try:
        where = choose_device(device)
        dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
        optimizations = (
            optimizations_for(preset, where, dtype) if pulls and where.type == "cuda" else Optimizations()
        )
        asked = Asked(
            model=model,
            device=where,
            gpus=number_of_ranks("auto" if gpus == "auto" else _count(gpus), device, where),
            drawn=random_weights,
            fast=preset == "fast",
            size=parse_size(size) if size else None,
            optimizations=optimizations,
            check=0 if start_only else check,
            guided=guidance != "none",
            steps=measured_engine.falling_steps(steps) if steps else None,
        )
        if start_only:
            _, start, _ = _start(asked)
            typer.echo(json.dumps(start))
            return
        kinds = KINDS[guidance]
        timed = _timed(
            asked,
            lambda engine: {kind.name: Bench(engine, kind, preset, steps, chunks).run() for kind in kinds},
            warm_start=warm_start,
        )
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    reports: list[dict[str, Any]] = []
    for kind in kinds:
        settings = _settings(asked, timed.info, kind) | {"chunks": chunks}
        report = {"settings": settings, "machine": machine.about(where), "starts": timed.starts}
        reports.append(report | timed.figures[kind.name] | {"equality": timed.differences})
        for line in table.lines(reports[-1]):
            typer.echo(line)
    if len(kinds) > 1:
        typer.echo("")
        typer.echo(table.comparison(reports))
    write_json(json_file, reports if len(reports) > 1 else reports[0])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a process starts with."""

    model: str
    device: torch.device
    gpus: int
    drawn: bool
    fast: bool
    size: tuple[int, int] | None  # width, height; None: the model's own
    optimizations: Optimizations
    check: int
    guided: bool
    steps: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What came of it."""

    info: EngineInfo
    starts: dict[str, dict[str, float | None] | None]
    figures: dict[str, dict[str, Any]]  # of a table, by what guides
    differences: list[dict[str, float | None]]  # from the plain pipeline, of each chunk


def _settings(asked: Asked, info: EngineInfo, kind: Guided) -> dict[str, Any]:
    """What a table is of."""
    steps, noise_scale = kind.sampling(asked.steps or info.steps)
    return {
        "model": asked.model,
        "random_weights": asked.drawn,
        "preset": "fast" if asked.fast else "exact",
        "guidance": kind.name,
        "noise_scale": noise_scale,
        "height": info.height,
        "width": info.width,
        "steps": len(steps),
        "gpus": asked.gpus,
        "optimizations": dataclasses.asdict(asked.optimizations),
        "dtype": info.dtype,
    }


def _timed(
    asked: Asked, figures_of: Callable[[StreamEngine], dict[str, dict[str, Any]]], *, warm_start: bool
) -> Timed:
    """Starts and chunks, with a compile cache that is empty at first."""
    with machine.cold_cache():
        # The plain pipeline pays for much of a start: with --check another process is timed.
        apart = _start_apart() if asked.check and warm_start else None
        engine, start, differences = _start(asked)
        starts: dict[str, dict[str, float | None] | None] = {"cold": apart or start}
        info, figures = engine.info, figures_of(engine)
        del engine  # the second process needs the room
        starts |= {"warm": _start_apart()} if warm_start else {}
    return Timed(info=info, starts=starts, figures=figures, differences=differences)


def _start(
    asked: Asked,
) -> tuple[StreamEngine, dict[str, float | None], list[dict[str, float | None]]]:
    """The engine ready to serve, how long that took, and, if asked, how far it is from the plain one."""
    plain = _painted(_built(asked, gpus=1), asked) if asked.check else []
    machine.free()
    begin = time.perf_counter()
    engine = _built(asked, asked.gpus, asked.optimizations)
    machine.wait(asked.device)
    loaded = time.perf_counter()
    engine.warm_up()
    machine.wait(asked.device)
    warmed = time.perf_counter()
    age = machine.process_age_s()
    took = {
        "load_s": loaded - begin,
        "warm_up_s": warmed - loaded,
        "ready_s": None if asked.check else age,
    }
    return engine, took, equality.differences(plain, _painted(engine, asked))


def _count(gpus: str) -> int:
    if not gpus.isdecimal() or int(gpus) < 1:
        raise ValueError(f"gpus: expected 1 or more, or auto, got {gpus!r}")
    return int(gpus)


def _built(asked: Asked, gpus: int, optimizations: Optimizations | None = None) -> StreamEngine:
    return measured_engine.build(
        asked.model,
        asked.device,
        torch.bfloat16 if asked.device.type == "cuda" else torch.float32,
        drawn=asked.drawn,
        fast=asked.fast,
        size=asked.size,
        optimizations=optimizations,
        gpus=gpus,
    )


def _painted(engine: StreamEngine, asked: Asked) -> list[equality.Painted]:
    return equality.generated(engine.pipeline, asked.check, guided=asked.guided, steps=asked.steps)


def _start_apart() -> dict[str, float | None] | None:
    """A start of the same command in a process of its own; None, and what it said shown, if it failed."""
    machine.free()
    command = [sys.executable, "-m", "scripts.bench.pipeline", *sys.argv[1:], "--start-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        typer.echo(f"the start apart failed: {done.stderr.strip()[-500:]}", err=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    typer.run(main)
