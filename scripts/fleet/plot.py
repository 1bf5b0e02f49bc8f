"""Picture of a simulated day: sessions, places and who waits; below, how long clients waited."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from scripts.fleet.simulation import Plan, Seen


def draw(plan: Plan, seen: Seen, file: Path) -> None:
    """Write a PNG."""
    hours = [at / 3600 for at, *_ in seen.samples]
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(7, 5), height_ratios=(2, 1), layout="constrained")
    upper.plot(hours, [places for _, _, places, _ in seen.samples], color="0.6", label="places")
    upper.plot(hours, [sessions for _, sessions, _, _ in seen.samples], color="tab:blue", label="sessions")
    upper.plot(hours, [waiting for *_, waiting in seen.samples], color="tab:orange", label="in line")
    upper.set(xlabel="hours", title=f"{plan.sessions:,} sessions on {plan.gpus:,} GPUs")
    upper.set_ylim(bottom=0)
    upper.legend(loc="upper left")
    waits = sorted(seen.waits)
    lower.plot(waits, [(place + 1) / len(waits) for place in range(len(waits))], color="tab:blue")
    lower.set(xlabel="seconds in line", ylabel="share of those who came in", ylim=(0, 1.02))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
