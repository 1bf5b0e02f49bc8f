"""The benchmark's report: as a table for people, as plain values for JSON."""

import contextlib
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench.figures.latency import bitrate, medians_over_time, summarise
from scripts.bench.figures.run_record import RunRecord
from scripts.bench.figures.switches import SOON_CHUNKS, summarise_switches

PERIOD_S = 30.0  # of the medians that show where a slope comes from
STAGES = ("collect", "depth", "encode", "generate", "decode", "pace", "total")


def explain(error: Exception, recording: RunRecord, patience: float) -> str:
    """Why there is nothing to report, with what was seen until then."""
    if isinstance(error, ConnectionError):
        return str(error)
    arrivals = recording.arrivals
    readable = sum(arrival.sent is not None for arrival in arrivals)
    states = ", ".join(state for _, state in recording.states) or "none"
    hint = "" if readable else " No picture carried a number: was the server started with --stamp-source?"
    return (
        f"no generated picture within {patience:g} s: {len(arrivals)} pictures came, "
        f"{readable} of them numbered; states: {states}; errors: {recording.errors or 'none'}.{hint}"
    )


def build_report(
    runs: Sequence[RunRecord],
    floor: Sequence[RunRecord] = (),
    *,
    command: str,
    way: str,
    camera: dict[str, float],
    server_start_s: float | None,
    load_before: float,
) -> dict[str, Any]:
    """Everything that was measured, ready for JSON: medians over `runs`, and every run. At least one run.

    `way`: what carried the pictures; `floor`: runs against the echo server.
    """
    records = [_record(run) for run in runs]
    floor_figures = [_figures(run) for run in floor]
    has_switches = any(switch.chunk_at_send is not None for run in runs for switch in run.switches)
    return {
        "command": command,
        "machine": {**describe_machine(), "load_before": load_before},
        "model": runs[-1].model,
        "way": way,
        "camera": camera,
        "server_start_s": server_start_s,
        "figures": _medians([record["figures"] for record in records]),
        "page": _medians([run.page for run in runs]),
        "floor": _medians(floor_figures) if floor else None,
        "switches": asdict(summarise_switches(runs)) if has_switches else None,
        "runs": records,
        "floor_runs": floor_figures,
    }


def _record(run: RunRecord) -> dict[str, Any]:
    return {
        "figures": _figures(run),
        "page": run.page,
        "p50_over_time_ms": medians_over_time(run.arrivals, PERIOD_S),
        "server_stages_ms": {stage: stage_median(run, stage) for stage in STAGES},
        "server_stats": run.stats,
        "prompt_switches": [asdict(switch) for switch in run.switches],
        "states": run.states,
        "errors": run.errors,
    }


def _figures(run: RunRecord) -> dict[str, float | None]:
    """Latencies and rates, and what a WebSocket carried from the first generated picture to the last."""
    times = [arrival.time for arrival in run.arrivals if arrival.is_generated]
    carried = {"sent_kbps": run.sent, "received_kbps": run.received}
    rates = {
        name: bitrate(messages, times[0], times[-1]) if len(times) > 1 else None
        for name, messages in carried.items()
    }
    return {**asdict(summarise(run.arrivals, run.offered)), **rates}


def _medians(records: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Of each figure, over the records that have it; None where none has."""
    known = {name: [value for r in records if (value := r[name]) is not None] for name in records[0]}
    return {name: statistics.median(values) if values else None for name, values in known.items()}


def stage_median(recording: RunRecord, stage: str) -> float | None:
    """Median over the run of what telemetry said about one stage, in ms."""
    values = [message["latency_ms"].get(stage) for message in recording.telemetry]
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def describe_machine() -> dict[str, Any]:
    """Where the figures come from: processor, cores, system."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        named = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = named[1] if named else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people: what was measured beside the floor, then the details of the last run."""
    machine, camera, last = report["machine"], report["camera"], report["runs"][-1]
    stages = ", ".join(f"{name} {_ms(ms)}" for name, ms in last["server_stages_ms"].items() if ms is not None)
    stats = last["server_stats"] or {}
    count = len(report["runs"])
    rows = [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']:.1f} before"),
        ("model", _model(report["model"])),
        ("way", f"{report['way']}, {f'medians of {count} runs' if count > 1 else 'one run'}"),
        ("camera", f"{camera['width']}x{camera['height']} at {camera['fps']:g} fps"),
        ("server start to ready", _seconds(report["server_start_s"])),
        *_compared(report["figures"], report["floor"]),
        *_paged(report["page"]),
        *_over_time(last["p50_over_time_ms"]),
        ("dropped by the server", _named(stats.get("dropped", {}))),
        ("server stages, median", stages or "-"),
        *_switching(report["switches"]),
        *(
            (f"prompt switch {index}", _switch(switch))
            for index, switch in enumerate(last["prompt_switches"], 1)
            if switch["chunk_at_send"] is None
        ),
        *(("error", error) for run in report["runs"] for error in run["errors"]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _compared(server: dict[str, Any], floor: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Rows of the figures, those of the floor in a column of their own."""
    left = _column(server)
    if floor is None:
        return list(left.items())
    right = _column(floor)
    width = max(map(len, left.values())) + 3
    rows = [("", "server", "floor: echo"), *((name, left[name], right.get(name, "-")) for name in left)]
    return [(name, f"{ours:<{width}}{echo}") for name, ours, echo in rows]


def _paged(page: dict[str, float | None]) -> list[tuple[str, str]]:
    """Rows of what only a browser can tell."""
    if not page:
        return []
    camera, shown = page["camera_to_received_p50_ms"], page["received_to_shown_p50_ms"]
    fps, missed = page["presented_fps"], page["frames_not_looked_at"]
    return [
        ("camera to received p50", _ms(camera)),
        ("received to shown p50", _ms(shown)),
        ("frames presented", "-" if fps is None else f"{fps:.2f} a second, {missed:g} not looked at"),
    ]


def _over_time(medians: Sequence[float]) -> list[tuple[str, str]]:
    """A row of them, if there are several to compare."""
    if len(medians) < 2:
        return []
    return [(f"p50 of each {PERIOD_S:.0f} s", f"{', '.join(f'{value:.0f}' for value in medians)} ms")]


def _column(figures: dict[str, Any]) -> dict[str, str]:
    slope, fps = figures["slope_ms_per_minute"], figures["fps"]
    sent, received = figures["sent_kbps"], figures["received_kbps"]
    carried = (
        {} if sent is None or received is None else {"sent, received": f"{sent:.0f}, {received:.0f} kbit/s"}
    )
    return {
        "first picture, after the start": _ms(figures["first_generated_ms"]),
        "glass to glass p50": _ms(figures["glass_to_glass_p50_ms"]),
        "glass to glass p95": _ms(figures["glass_to_glass_p95_ms"]),
        "glass to glass max": _ms(figures["glass_to_glass_max_ms"]),
        "latency's slope": "-" if slope is None else f"{slope:+.0f} ms a minute",
        "fps received": "-" if fps is None else f"{fps:.2f}",
        "freezes": f"{figures['freezes']:g}, longest gap {_ms(figures['longest_gap_ms'])}",
        "pictures": f"{figures['generated']:g}",
        "  passed through, unreadable": f"{figures['passed_through']:g}, {figures['unreadable']:g}",
        **carried,
    }


def _switching(switches: dict[str, Any] | None) -> list[tuple[str, str]]:
    if switches is None:
        return []
    share, period = switches["soon_share"], switches["chunk_period_ms"]
    periods = [
        f"{value:.2f}" if value is not None else "-"
        for value in (switches["p50_periods"], switches["p95_periods"])
    ]
    return [
        (
            "prompt switches",
            f"{switches['sent']} sent, {switches['applied']} applied, "
            f"{100 * share:.0f} % within {SOON_CHUNKS} chunks of the one on show",
        ),
        (
            "  send to applied",
            f"p50 {_ms(switches['p50_ms'])}, p95 {_ms(switches['p95_ms'])}; "
            f"in chunk periods of {_ms(period)}: p50 {periods[0]}, p95 {periods[1]}",
        ),
    ]


def _model(model: dict[str, Any] | None) -> str:
    if model is None:
        return "unknown"
    name = model["name"] if model["trained"] else f"{model['name']} (untrained)"
    size = f"{model['width']}x{model['height']}"
    return f"{name}, {size}, {model['steps']} steps, depth from {model['depth']}, on {model['device']}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "-"


def _switch(switch: dict[str, Any]) -> str:
    if switch["is_superseded"]:
        return "superseded by the next"
    if switch["applied_ms"] is None:
        return "not applied before the run ended"
    return (
        f"acknowledged after {_ms(switch['acknowledged_ms'])}, applied after {_ms(switch['applied_ms'])} "
        f"(server: {_ms(switch['server_latency_ms'])}) at chunk {switch['chunk']}, frame {switch['frame']}"
    )
