"""Delay until prompt switches show: in ms and in chunk periods, over one or several runs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.figures.latency import percentile
from scripts.bench.figures.run_record import RunRecord

SOON_CHUNKS = 2  # a switch shows soon when no more than this many chunks after the one on show as it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchFigures:
    """None where there was nothing to measure."""

    sent: int
    applied: int  # of those: the others had not shown when the run ended, and count as late
    soon_share: float | None  # shown within SOON_CHUNKS, of all that were sent
    p50_ms: float | None  # send to `applied`, of those applied
    p95_ms: float | None
    chunk_period_ms: float | None  # from one chunk to the next, over the whole run
    p50_periods: float | None
    p95_periods: float | None


def summarise_switches(runs: Sequence[RunRecord]) -> SwitchFigures:
    """Over all switches that know which chunk was on show when they were sent."""
    switches = [switch for run in runs for switch in run.switches if switch.chunk_at_send is not None]
    took = [switch.applied_ms for switch in switches if switch.applied_ms is not None]
    waited = [
        switch.chunk - switch.chunk_at_send
        for switch in switches
        if switch.chunk is not None and switch.chunk_at_send is not None
    ]
    period = chunk_period_ms(runs)
    p50, p95 = (percentile(took, share) if took else None for share in (0.5, 0.95))
    return SwitchFigures(
        sent=len(switches),
        applied=len(took),
        soon_share=sum(chunks <= SOON_CHUNKS for chunks in waited) / len(switches) if switches else None,
        p50_ms=p50,
        p95_ms=p95,
        chunk_period_ms=period,
        p50_periods=p50 / period if p50 is not None and period else None,
        p95_periods=p95 / period if p95 is not None and period else None,
    )


def chunk_period_ms(runs: Sequence[RunRecord]) -> float | None:
    """Mean time from chunk to chunk, as telemetry told; None when no run has seen two."""
    seconds, chunks = 0.0, 0
    for run in runs:
        if run.chunk_times:
            (began, first), (ended, last) = run.chunk_times[0], run.chunk_times[-1]
            seconds, chunks = seconds + ended - began, chunks + last - first
    return 1000 * seconds / chunks if chunks > 0 else None


def shown_in_words(switches: dict[str, Any] | None) -> str:
    """How many of a session's prompt switches showed, and how soon; `switches`: SwitchFigures in a report."""
    if switches is None:
        return "-"
    shown = f"{switches['applied']} of {switches['sent']}"
    return shown if switches["p50_ms"] is None else f"{shown}, p50 {switches['p50_ms']:.0f} ms"
