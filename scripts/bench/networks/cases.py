"""What is tried on the link, case by case, and what is told of each."""

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.bench.networks.figures import Continuity
from scripts.bench.networks.shaping import CLEAN, OUTAGE, Conditions

BURST = Conditions(loss=0.2)
BURST_S = 3.0
AFTER_S = 9.0  # is looked at after a burst
AFTER_OUTAGE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`conditions` for `lasts_s`, then a clean link for `after_s`, as often as `trials` says."""

    name: str
    conditions: Conditions
    lasts_s: float
    after_s: float = 0.0
    trials: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one trial. `camera`: as the server got it. `shown`: the returned video in the browser."""

    camera: Continuity
    shown: Continuity
    age_p50_ms: float | None  # of what was shown, from the camera
    age_p95_ms: float | None
    camera_again_s: float | None  # from the end of the conditions until it was as before; None: it never was
    shown_again_s: float | None
    lost_share: float  # of packets, both directions


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one case. `offers`: how often the page connected; 1: the first connection lasted."""

    case: Case
    before_camera: Continuity
    before_shown: Continuity
    trials: list[Trial]
    is_same_session: bool  # the session and its prompt, of the beginning and the end
    offers: int
    phases: list[str]  # what the page said of its stream meanwhile


def steady_cases(seconds: float) -> Iterator[Case]:
    slow = Conditions(rate_bps=500_000, queue_bytes=16_384)
    for name, conditions in {
        "clean": CLEAN,
        "loss 1 %": Conditions(loss=0.01),
        "loss 5 %": Conditions(loss=0.05),
        "loss 10 %": Conditions(loss=0.1),
        "delay 200 +- 50 ms": Conditions(delay_s=0.2, jitter_s=0.05),
        "reordering: 10 % 30 ms late": Conditions(late=0.1, late_s=0.03),
        "500 kbit/s": slow,
    }.items():
        yield Case(name=name, conditions=conditions, lasts_s=seconds)


def all_cases(seconds: float, trials: int) -> list[Case]:
    """`seconds`: of each steady case. `trials`: bursts."""
    bursts = Case(
        name="bursts: 3 s of 20 %", conditions=BURST, lasts_s=BURST_S, after_s=AFTER_S, trials=trials
    )
    outages = (
        Case(name=f"outage {lasts:g} s", conditions=OUTAGE, lasts_s=lasts, after_s=AFTER_OUTAGE_S)
        for lasts in (3.0, 5.0, 10.0)
    )
    return [*steady_cases(seconds), bursts, *outages]


HEADER = (
    "condition", "camera fps", "longest gap", "gaps > 0.5 s", "again after",
    "shown fps", "longest gap", "gaps > 0.5 s", "again after", "age p50/p95", "session",
)  # fmt: skip


def table(outcomes: list[Outcome]) -> str:
    """As Markdown. A case of several trials has the worst of them, and how many were as usual again."""
    rows = [HEADER, tuple("---" for _ in HEADER), *map(_row, outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(outcome: Outcome) -> tuple[str, ...]:
    trials = outcome.trials
    cells = [outcome.case.name]
    for part in ("camera", "shown"):
        found: list[Continuity] = [getattr(trial, part) for trial in trials]
        cells += [
            f"{sum(one.fps for one in found) / len(found):.1f}",
            f"{max(one.longest_gap_s for one in found):.2f} s",
            str(sum(one.gaps for one in found)),
            _again([getattr(trial, f"{part}_again_s") for trial in trials]) if outcome.case.after_s else "",
        ]
    return (*cells, _age(trials), _session(outcome))


def _again(seconds: list[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    longest = f"{max(known):.1f} s" if known else "never"
    return longest if len(seconds) == 1 else f"{longest} ({len(known)} of {len(seconds)})"


def _age(trials: list[Trial]) -> str:
    known = [(one.age_p50_ms, one.age_p95_ms) for one in trials if one.age_p50_ms and one.age_p95_ms]
    if not known:
        return "unknown"
    return f"{max(p50 for p50, _ in known):.0f}/{max(p95 for _, p95 in known):.0f} ms"


def _session(outcome: Outcome) -> str:
    if not outcome.is_same_session:
        return "another one"
    return "goes on" if outcome.offers == 1 else f"taken up again ({outcome.offers - 1})"
