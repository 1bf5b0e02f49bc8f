"""The table of a run, from the same figures as its JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Issue "Fast": milliseconds at 832x480 on one H100 80GB, by preset and guidance; None: for all.
GOALS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("exact", "depth"): {"chunk": 500, "pass": 50, "control encode": 75, "decode": 90},
    ("exact", "none"): {"chunk": 360, "pass": 50, "decode": 90},
    ("fast", "depth"): {"chunk": 300, "pass": 40, "control encode": 75, "decode": 6},
    ("fast", "none"): {"chunk": 218, "pass": 40, "decode": 6},
}
SWITCH_GOAL_MS, FIRST_FRAME_GOAL_MS, COLD_GOAL_S, WARM_GOAL_S = 200, 1000, 90, 25


def goal_ms(stage: str, preset: str, guidance: str) -> float | None:
    """The goal of a stage; of "pass 2" and "clean pass" that of a pass without hints."""
    goals = GOALS.get((preset, guidance), {})
    if stage == "clean pass" or stage.endswith("without hints"):
        return goals.get("pass")
    return goals.get(stage)


def comparison(reports: Sequence[Mapping[str, Any]]) -> str:
    """What a chunk of each report takes, beside the first one's."""
    named = [(report["settings"]["guidance"], report["stages"]["chunk"]["median_ms"]) for report in reports]
    return ", ".join(f"{name} {ms:.1f} ms ({ms / named[0][1]:.3f})" for name, ms in named)


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report, line by line."""
    settings, machine = report["settings"], report["machine"]
    yield (
        f"{settings['model']} {settings['width']}x{settings['height']}, {settings['preset']}, "
        f"guidance {settings['guidance']}, {settings['steps']} steps, {settings['dtype']}, "
        f"{_optimizations(settings['optimizations'])}; "
        f"{_devices(settings['gpus'])}{machine['device']}, torch {machine['torch']}"
    )
    yield ""
    yield f"{'stage':<24}{'median ms':>11}{'p95':>9}{'TFLOP':>9}{'floor ms':>10}{'of ceiling':>11}{'goal':>7}"
    for name, row in report["stages"].items():
        yield (
            f"{name:<24}{row['median_ms']:>11.2f}{row['p95_ms']:>9.2f}{_cell(row['tflop'], 9, 4)}"
            f"{_cell(row['floor_ms'], 10, 2)}{_percent(row['of_ceiling'], 11)}{_cell(row['goal_ms'], 7, 0)}"
        )
    yield ""
    yield f"fps at 12 frames: {report['fps']:.2f} (host clock, {settings['chunks']} chunks)"
    memory = report["memory_mib"]
    yield "memory MiB: " + ", ".join(f"{name} {_cell(value, 0, 0)}" for name, value in memory.items())
    for name, start in report["starts"].items():
        if start is None:
            continue
        goal = {"cold": COLD_GOAL_S, "warm": WARM_GOAL_S}[name]
        yield (
            f"start, {name} cache: load {start['load_s']:.1f} s, warm-up {start['warm_up_s']:.1f} s, "
            f"process to ready {_cell(start['ready_s'], 0, 1)} s (goal {goal})"
        )
    switch = report["prompt_switch"]
    recache = switch["recache"] or {"median_ms": None, "of_ceiling": None}
    yield (
        f"prompt switch: recache {_cell(recache['median_ms'], 0, 1)} ms, "
        f"{_percent(recache['of_ceiling'], 0)} of its ceiling; "
        f"the chunk with it {switch['extra_ms']:+.1f} ms (goal {SWITCH_GOAL_MS})"
    )
    yield f"first chunk of a new session: {report['first_frame_ms']:.1f} ms (goal {FIRST_FRAME_GOAL_MS})"
    ring = report["ring_copies"]
    yield (
        f"ring, bytes a pass: new tokens {ring['new']:,}, copied in {ring['into']:,} (0: by kernels), "
        f"copied out {ring['out_of']:,}; sink turned on, once a chunk: {ring['turned']:,}"
    )
    for index, row in enumerate(report["equality"]):
        yield (
            f"chunk {index} against the plain pipeline: latents off by {row['latents_rel_l2']:.2e} (relative "
            f"L2), frames {_cell(row['psnr_db'], 0, 1)} dB"
        )
    if report["runtime"]:
        yield ""
        yield f"{'CUDA calls in':<24}{'kernels':>9}{'graphs':>9}{'syncs':>9}{'events read':>13}"
        for name, calls in report["runtime"].items():
            yield (
                f"{name:<24}{calls['kernels']:>9}{calls['graphs']:>9}{calls['syncs']:>9}"
                f"{calls['event_syncs']:>13}"
            )
    yield ""
    yield f"{'ceiling':<28}{'shape':<28}{'ms':>10}{'rate':>16}{'of best':>9}"
    for row in report["ceilings"]:
        rate = row["note"][:30] if row["rate"] is None else _rate(row)
        yield (
            f"{row['name']:<28}{row['shape']:<28}{_cell(row['median_ms'], 10, 3)}"
            f"  {rate:>14}{_percent(row['of_best'], 9)}"
        )


def _devices(gpus: int) -> str:
    """Floors and ceilings stay those of one."""
    return f"{gpus} x " if gpus > 1 else ""


def _optimizations(optimizations: Mapping[str, Any]) -> str:
    on = [name if value is True else f"{name} {value}" for name, value in optimizations.items() if value]
    return ", ".join(on)


def _rate(row: Mapping[str, Any]) -> str:
    if row["kind"] in ("bytes", "host"):
        return f"{row['rate'] / 1e9:.1f} GB/s"
    return f"{row['rate'] / 1e12:.2f} TFLOP/s"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"


def _percent(value: float | None, width: int) -> str:
    return f"{'-' if value is None else format(value, '.0%'):>{width}}"
