"""Judgement of the built-in model: on held-out scenes, on real video, and by the clock.

python -m scripts.eval_embedded --quick --json out/eval.json --sheets out/sheets
python -m scripts.eval_embedded --full --only looks --only switches --model-folder out/model
python -m scripts.eval_embedded --full --only looks --steps 4
python -m scripts.eval_embedded --quick --only looks --size 144x256

Prints a table of goal, value and verdict; LOOK at the sheets as well. Scenes come from seeds that training
never uses. Without judges (tests/data/probes.safetensors) what they read is not judged. Files are written
after every trial, so that an interrupted run leaves what it found.
"""

import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

# OpenMP reads it when torch is loaded; the server sets the same.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from scripts.embedded.judging.findings import FULL, QUICK, Finding, Row, Subject
from scripts.embedded.judging.live_trials import LIVE_TRIALS
from scripts.embedded.judging.probes import PROBES, load_probes
from scripts.embedded.judging.trials import TRIALS
from scripts.json_file import JsonFile, write_json
from streaming.checkpoints.precision import choose_dtype
from streaming.checkpoints.presets import EMBEDDED, PACKAGED_DEPTH, PACKAGED_FILES
from streaming.config import PipelineConfig, parse_size
from streaming.depth.estimators import load_depth
from streaming.engine import StreamEngine, choose_device
from streaming.pipeline import LongLivePipeline

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "streaming" / "embedded"
ALL_TRIALS = TRIALS | LIVE_TRIALS


def main(
    is_full: Annotated[
        bool, typer.Option("--full/--quick", help="Everything, for a GPU; or minutes on a CPU.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Some trials: {', '.join(ALL_TRIALS)}; repeat for several.")
    ] = None,
    model_folder: Annotated[Path, typer.Option(help="Weights, laid out as the package ships them.")] = MODEL,
    probes_file: Annotated[
        Path | None,
        typer.Option("--probes", help=f"The judges; {PROBES.relative_to(ROOT)} by default, if it is there."),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Where packages of marked photos were unzipped, if not installed.")
    ] = None,
    json_file: JsonFile = None,
    sheets: Annotated[Path | None, typer.Option(help="Write contact sheets (PNG) into this folder.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as served), float32 or bfloat16.")] = "auto",
    steps: Annotated[
        int | None, typer.Option(min=1, max=4, help="Denoising steps; by default as many as are served.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Pixels; as served by default. Scenes are rendered as large."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; speed is measured as served.")] = 1,
) -> None:
    """Judge the built-in model on scenes that it never saw."""
    chosen = only or list(ALL_TRIALS)
    if unknown := [name for name in chosen if name not in ALL_TRIALS]:
        raise typer.BadParameter(f"{unknown[0]!r}: expected {', '.join(ALL_TRIALS)}", param_hint="--only")
    torch.set_num_threads(threads)
    try:
        subject = load_subject(
            model_folder, probes_file, device, precision, parse_size(size) if size else None
        )
        subject.photos = photos
        subject.steps = None if steps is None else tuple(1000 - 1000 * n // steps for n in range(steps))
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    report: dict[str, Any] = {
        "command": shlex.join(sys.argv),
        "machine": describe_machine(subject.device),
        "model": str(subject.folder),
        "size": f"{subject.size[1]}x{subject.size[0]}",
        "probes": subject.probes.figures if subject.probes else None,
        "rows": [],
        "trials": {},
        "seconds": {},
    }
    rows: list[Row] = []
    for name in chosen:
        began = time.monotonic()
        typer.echo(f"{name} ...", err=True)
        finding = ALL_TRIALS[name](subject, FULL if is_full else QUICK)
        rows += finding.rows
        report["rows"] += [asdict(row) | {"passed": row.passed} for row in finding.rows]
        report["trials"][name] = finding.details
        report["seconds"][name] = round(time.monotonic() - began, 1)
        write(finding, report, json_file, sheets)
    typer.echo(table(rows))


def load_subject(
    folder: Path = MODEL,
    probes_file: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    size: tuple[int, int] | None = None,
) -> Subject:
    """The model in `folder`, in the served precision and size (width, height) unless others are named;
    without a depth net there, edges. Judges are those in `probes_file`, or the kept ones if there are any.

    Raises OSError or ValueError, whose text says what is missing.
    """
    where = choose_device(device)
    dtype = choose_dtype(precision, where)
    files = {key: str(folder / name) for key, name in PACKAGED_FILES.items()}
    if missing := next((path for path in files.values() if not Path(path).exists()), None):
        raise FileNotFoundError(f"{missing}: no such file; --model-folder must hold a trained model")
    depth = str(folder / PACKAGED_DEPTH) if (folder / PACKAGED_DEPTH).is_dir() else "edges"
    preset = EMBEDDED.with_size(size)
    pixels = {"width": preset.width, "height": preset.height}
    config = PipelineConfig.from_mapping({"base_model_name": EMBEDDED.name} | pixels | files)
    pipeline = LongLivePipeline(config, where, dtype)
    engine = StreamEngine(pipeline, load_depth(depth, where, dtype), Path(depth).name)
    if probes_file is None and PROBES.is_file():
        probes_file = PROBES
    return Subject(engine, load_probes(probes_file, where) if probes_file else None, folder)


def write(finding: Finding, report: dict[str, Any], json_file: Path | None, sheets: Path | None) -> None:
    write_json(json_file, report)
    if sheets is not None:
        for name, sheet in finding.sheets.items():
            sheet.save(sheets / f"{name}.png")


def table(rows: Sequence[Row]) -> str:
    """The figures for people."""
    lines = [("figure", "goal", "value", "", "")]
    for row in rows:
        goal = "" if row.goal is None else f"{'<=' if row.at_most else '>='} {row.goal:g}"
        value = (
            "-" if row.value is None else f"{row.value:.3f}" if abs(row.value) < 10 else f"{row.value:.1f}"
        )
        verdict = {None: "", True: "pass", False: "FAIL"}[row.passed]
        lines.append((row.name, goal, f"{value} {row.unit}".strip(), verdict, row.note))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    )


def describe_machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": str(device),
        "name": name,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    typer.run(main)
