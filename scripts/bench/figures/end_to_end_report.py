"""The table of `bench.end_to_end`: its parts beside the goals. Pure: records go in, text comes out."""

from collections.abc import Sequence
from typing import Any

from scripts.bench.figures.switches import shown_in_words

COLUMNS = {
    "fps": "fps",
    "glass_to_glass_p50_ms": "p50 ms",
    "glass_to_glass_p95_ms": "p95 ms",
    "freezes": "freezes",
    "slope_ms_per_minute": "slope ms/min",
    "first_generated_ms": "first ms",
}
DECIMALS = {"fps": 1, "slope_ms_per_minute": 1}
GOALS: dict[str, dict[str, float]] = {  # part -> the most that a figure may be
    "fast": {
        "glass_to_glass_p50_ms": 750,
        "glass_to_glass_p95_ms": 1000,
        "freezes": 0,
        "slope_ms_per_minute": 1,
    },
    "exact": {"glass_to_glass_p50_ms": 1000},
}


def goals_of(part: str, sessions: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal of a part, the figure beside it, and whether that is met; None where nothing was measured."""
    figures = sessions[0]["figures"] if sessions else None
    found = {name: figures[name] if figures else None for name in GOALS.get(part, {})}
    return {
        name: {
            "most": GOALS[part][name],
            "is": value,
            "met": None if value is None else value <= GOALS[part][name],
        }
        for name, value in found.items()
    }


def sessions_of(report: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A row for each session of a report by `latency` or `sessions`: `figures` or None, `note`."""
    if report is None:
        return []
    if "outcomes" not in report:
        return [_session(report)]
    return [
        _session(one["report"])
        if one["report"]
        else {
            "figures": None,
            "note": f"refused ({one['refused']})" if one["refused"] else f"failed: {one['failed']}",
        }
        for one in report["outcomes"]
    ]


def _session(report: dict[str, Any]) -> dict[str, Any]:
    figures, floor = {name: report["figures"][name] for name in COLUMNS}, report["floor"]
    notes = [f"switches shown {shown_in_words(report['switches'])}"] if report["switches"] else []
    if floor:
        notes.append(f"floor p50 {_number(floor['glass_to_glass_p50_ms'], 0)} ms")
    return {"figures": figures, "note": ", ".join(notes)}


def table(records: Sequence[dict[str, Any]]) -> str:
    """A line for each session of each part; `x <= y` is a goal met, `x > y!` one that is not."""
    rows = [["part", *COLUMNS.values(), ""]]
    for record in records:
        sessions = record["sessions"] or [{"figures": None, "note": ""}]
        for number, session in enumerate(sessions, 1):
            name = record["part"] if len(sessions) == 1 else f"{record['part']} {number}"
            goals = record["goals"] if number == 1 else {}
            cells = [_cell(session["figures"], column, goals.get(column)) for column in COLUMNS]
            notes = [*(_about(record) if number == 1 else ()), session["note"]]
            rows.append([name, *cells, "; ".join(filter(None, notes))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) + 1)]
    lines = []
    for name, *cells, notes in rows:
        right = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([f"{name:<{widths[0]}}", *right, notes]).rstrip())
    return "\n".join(lines)


def _cell(figures: dict[str, Any] | None, column: str, goal: dict[str, Any] | None) -> str:
    number = _number(figures[column] if figures else None, DECIMALS.get(column, 0))
    if goal is None:
        return number
    sign, mark = (">", "!") if goal["met"] is False else ("<=", "")
    return f"{number} {sign} {goal['most']:g}{mark}"


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _about(record: dict[str, Any]) -> list[str]:
    """What holds for a part as a whole: its server's start, how even the shares were, what went wrong."""
    notes, server = [], record["server"]
    if record["status"] != "done":
        notes.append(f"{record['status']}: {record['why']}")
    if server and server["ready_s"] is not None and record["started"]:
        places = f", {server['places']} places"
        notes.append(f"ready {server['ready_s']:.1f} s, compile cache {server['compile_cache']}{places}")
    if record["report"] and record["report"].get("share") is not None:
        notes.append(f"slowest over fastest {record['report']['share']:.2f}")
    return notes
