"""Simulated day of a fleet: how full its GPUs are, how long clients wait, what failures cost them.

python -m scripts.simulate_fleet                                  # 10,000 sessions on 1,000 GPUs with `fast`
python -m scripts.simulate_fleet --preset exact --policy pack --json out/fleet.json --plot out/fleet.png
python -m scripts.simulate_fleet --sessions 168000                # as many as make a day of 24 hours

Placement is the product's own, on the simulation's clock; scripts/fleet/simulation.py is what is modelled.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from scripts.bench.figures.latency import percentile
from scripts.fleet.simulation import Fleet, Plan, Seen
from scripts.json_file import JsonFile, write_json
from server.placement.free_places import Policy
from server.placement.places import places_at
from server.settings import Settings

CHUNK_FRAMES = 12
CHUNK_MS = {"fast": 276.0, "exact": 479.0}  # guided by depth, one H200: docs/performance.md
MOST = 16  # places that an operator would allow


def places_of(preset: str, min_fps: float) -> int:
    """Sessions that one GPU serves at once, by the server's own rule."""
    pace = CHUNK_FRAMES / (CHUNK_MS[preset] / 1000)
    max_fps = Settings.model_fields["max_fps"].default
    return places_at(pace, most=MOST, min_fps=min_fps, max_fps=max_fps)


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """Percentiles; nothing of nothing."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: percentile(values, share) for name, share in shares.items()} | {"max": max(values)}


def figures(plan: Plan, seen: Seen, real_s: float) -> dict[str, Any]:
    """What there is to tell, in seconds where no unit is named."""
    interruptions = seen.interruptions
    return {
        "hours": plan.seconds / 3600,
        "places": plan.gpus * plan.places,
        "utilisation": seen.session_s / seen.place_s,
        "peak_utilisation": max(sessions / places for _, sessions, places, _ in seen.samples if places),
        "served": seen.served,
        "waited": sum(wait > 0 for wait in seen.waits),
        "wait_s": spread_of(seen.waits),
        "refused": seen.refused,
        "gave_up": seen.gave_up,
        "vanished": seen.vanished,
        "failures": seen.failures,
        "drains": seen.drains,
        "interrupted": {why: len(gaps) for why, gaps in interruptions.items()},
        "interruption_s": {why: spread_of(gaps) for why, gaps in interruptions.items()},
        "lost_s": {why: sum(gaps) for why, gaps in interruptions.items()},
        "lost_share": sum(map(sum, interruptions.values())) / max(1.0, seen.session_s),
        "not_resumed": seen.not_resumed,
        "void_leases": seen.void_leases,
        "overbooked": seen.overbooked,
        "doubled": seen.doubled,
        "decisions": len(seen.decisions),
        "decisions_per_second": len(seen.decisions) / max(1e-9, sum(seen.decisions)),
        "decision_us": {name: 1e6 * value for name, value in spread_of(seen.decisions).items()},
        "reports": seen.reports,
        "reports_per_second": seen.reports / max(1e-9, seen.reports_s),
        "real_s": real_s,
        "processor_s": time.process_time(),
    }


def table(plan: Plan, found: dict[str, Any]) -> str:
    """As Markdown."""

    def some(spread: dict[str, float], names: Sequence[str], unit: str, digits: int = 1) -> str:
        return " / ".join(f"{spread[name]:.{digits}f}" for name in names) + f" {unit}" if spread else "none"

    def gaps(why: str) -> str:
        return f"{found['interrupted'][why]}: " + some(
            found["interruption_s"][why], ("p50", "p95", "max"), "s"
        )

    rows = {
        "fleet": f"{plan.gpus} GPUs, {found['places']} places, {plan.policy}",
        "day": f"{found['hours']:.2f} h, {plan.sessions} sessions of {plan.mean_minutes:g} min",
        "utilisation, mean / peak": f"{found['utilisation']:.1%} / {found['peak_utilisation']:.1%}",
        "came in / refused / gave up": f"{found['served']} / {found['refused']} / {found['gave_up']}",
        "waited at all": f"{found['waited'] / max(1, found['served']):.1%}",
        "wait p50 / p95 / p99": some(found["wait_s"], ("p50", "p95", "p99"), "s"),
        "GPUs that failed / drained": f"{found['failures']} / {found['drains']}",
        "gaps by failure p50 / p95 / max": gaps("failed"),
        "gaps by drain p50 / p95 / max": gaps("drained"),
        "not resumed": str(found["not_resumed"]),
        "lost of all session time": f"{found['lost_share']:.4%}",
        "overbooked / on two GPUs": f"{found['overbooked']} / {found['doubled']}",
        "decisions": f"{found['decisions']}, {found['decisions_per_second']:,.0f} a processor's second",
        "a decision p50 / p99": some(found["decision_us"], ("p50", "p99"), "µs", 0),
        "reports": f"{found['reports']}, {found['reports_per_second']:,.0f} a processor's second",
        "real time, of a processor": f"{found['real_s']:.0f}, {found['processor_s']:.0f} s",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def main(
    gpus: Annotated[int, typer.Option(min=1, help="Workers, each with one GPU.")] = 1000,
    sessions: Annotated[int, typer.Option(min=1, help="That come in one day.")] = 10_000,
    preset: Annotated[Literal["fast", "exact"], typer.Option(help="Whose chunk times.")] = "fast",
    min_fps: Annotated[float, typer.Option(min=1, help="That each session keeps.")] = Settings.model_fields[
        "min_fps"
    ].default,
    load: Annotated[float, typer.Option(min=0.01, help="Mean share of all places that is asked for.")] = 0.7,
    swing: Annotated[float, typer.Option(min=0, max=1, help="Peak of the day above its mean.")] = 0.6,
    minutes: Annotated[float, typer.Option(min=0.1, help="Mean length of a session.")] = 12.0,
    failures: Annotated[float, typer.Option(min=0, help="Of one GPU, a day.")] = 0.1,
    drains: Annotated[float, typer.Option(min=0, help="Of GPUs, an hour.")] = 20.0,
    policy: Annotated[Policy, typer.Option(help="Who gets the next session.")] = "spread",
    line: Annotated[int, typer.Option(min=0, help="Tickets at most.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    json_file: JsonFile = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the day; needs matplotlib.")] = None,
) -> None:
    """Simulate a day of a fleet and tell what it is like for clients and for GPUs."""
    plan = Plan(
        gpus=gpus,
        places=places_of(preset, min_fps),
        sessions=sessions,
        mean_minutes=minutes,
        load=load,
        swing=swing,
        failures_per_gpu_day=failures,
        drains_per_hour=drains,
        line=line,
        policy=policy,
        seed=seed,
    )
    began = time.perf_counter()
    seen = Fleet(plan).run()
    found = figures(plan, seen, time.perf_counter() - began)
    typer.echo(table(plan, found))
    write_json(json_file, {"plan": asdict(plan), "figures": found, "samples": seen.samples})
    if plot is not None:
        from scripts.fleet.plot import draw  # matplotlib, which nothing else here needs

        draw(plan, seen, plot)


if __name__ == "__main__":
    typer.run(main)
