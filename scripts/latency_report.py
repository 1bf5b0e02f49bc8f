"""The benchmark's report: as a table for people, as plain values for JSON."""

import contextlib
import os
import platform
import re
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench_client import Recording
from scripts.latency_figures import Figures, summarise

STAGES = ("collect", "depth", "encode", "generate", "decode", "pace", "total")


def explain(error: Exception, recording: Recording, patience: float) -> str:
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
    recording: Recording,
    *,
    command: str,
    camera: dict[str, float],
    server_start_s: float | None,
    load_before: float,
) -> dict[str, Any]:
    """Everything about one run, ready for JSON."""
    return {
        "command": command,
        "machine": {**describe_machine(), "load_before": load_before},
        "model": recording.model,
        "camera": camera,
        "server_start_s": server_start_s,
        "figures": asdict(summarise(recording.arrivals, recording.offered)),
        "server_stages_ms": {stage: stage_median(recording, stage) for stage in STAGES},
        "server_stats": recording.stats,
        "prompt_switches": [asdict(switch) for switch in recording.switches],
        "states": recording.states,
        "errors": recording.errors,
    }


def stage_median(recording: Recording, stage: str) -> float | None:
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
    """The report for people."""
    machine, camera, figures = report["machine"], report["camera"], Figures(**report["figures"])
    others = f"{figures.passed_through} passed through, {figures.unreadable} unreadable"
    stages = ", ".join(f"{name} {_ms(ms)}" for name, ms in report["server_stages_ms"].items())
    stats = report["server_stats"] or {}
    rows = [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']:.1f} before"),
        ("model", _model(report["model"])),
        ("camera", f"{camera['width']}x{camera['height']} at {camera['fps']:g} fps"),
        ("server start to ready", _seconds(report["server_start_s"])),
        ("first generated picture", _ms(figures.first_generated_ms) + " after the offer"),
        ("glass to glass p50", _ms(figures.glass_to_glass_p50_ms)),
        ("glass to glass p95", _ms(figures.glass_to_glass_p95_ms)),
        ("glass to glass max", _ms(figures.glass_to_glass_max_ms)),
        ("generated fps received", "-" if figures.fps is None else f"{figures.fps:.2f}"),
        ("freezes", f"{figures.freezes}, longest gap {_ms(figures.longest_gap_ms)}"),
        ("pictures", f"{figures.generated} generated, {others}"),
        ("dropped by the server", _named(stats.get("dropped", {}))),
        ("server stages, median", stages),
        *(
            (f"prompt switch {index}", _switch(switch))
            for index, switch in enumerate(report["prompt_switches"], 1)
        ),
        *(("error", error) for error in report["errors"]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


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
    if switch["applied_ms"] is None:
        return "not applied before the run ended"
    return (
        f"acknowledged after {_ms(switch['acknowledged_ms'])}, applied after {_ms(switch['applied_ms'])} "
        f"(server: {_ms(switch['server_latency_ms'])}) at chunk {switch['chunk']}, frame {switch['frame']}"
    )
