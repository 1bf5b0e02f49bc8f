"""Cases of the networks benchmark, and the table of what came of them."""

from scripts.bench.networks.cases import Outcome, Trial, all_cases, table
from scripts.bench.networks.figures import Continuity


def part(fps: float = 30.0, longest: float = 0.1, gaps: int = 0) -> Continuity:
    return Continuity(fps=fps, longest_gap_s=longest, gaps=gaps)


def trial(again: float | None, longest: float = 0.1) -> Trial:
    return Trial(
        camera=part(longest=longest, gaps=int(longest > 0.5)), shown=part(12.0),
        age_p50_ms=300.0, age_p95_ms=450.0,
        camera_again_s=again, shown_again_s=again, lost_share=0.1,
    )  # fmt: skip


def outcome(name: str, trials: list[Trial], *, is_same: bool = True, offers: int = 1) -> Outcome:
    (case,) = [one for one in all_cases(20.0, len(trials)) if one.name == name]
    return Outcome(
        case=case, before_camera=part(), before_shown=part(12.0), trials=trials, is_same_session=is_same,
        offers=offers, phases=[],
    )  # fmt: skip


def test_a_clean_link_is_the_first_case_and_names_are_unique():
    names = [case.name for case in all_cases(20.0, 10)]
    assert names[0] == "clean" and len(set(names)) == len(names)


def test_a_row_has_the_worst_trial_and_how_many_came_back():
    rows = table([
        outcome("clean", [trial(None)]),
        outcome("bursts: 3 s of 20 %", [trial(0.4), trial(None, 2.5), trial(1.2)]),
        outcome("outage 10 s", [trial(None)], offers=2),
        outcome("outage 3 s", [trial(1.0)], is_same=False),
    ]).splitlines()[2:]  # fmt: skip
    steady = "30.0 | 0.10 s | 0"
    assert rows == [
        f"| clean | {steady} |  | 12.0 | 0.10 s | 0 |  | 300/450 ms | goes on |",
        "| bursts: 3 s of 20 % | 30.0 | 2.50 s | 1 | 1.2 s (2 of 3) "
        "| 12.0 | 0.10 s | 0 | 1.2 s (2 of 3) | 300/450 ms | goes on |",
        f"| outage 10 s | {steady} | never | 12.0 | 0.10 s | 0 | never | 300/450 ms | taken up again (1) |",
        f"| outage 3 s | {steady} | 1.0 s | 12.0 | 0.10 s | 0 | 1.0 s | 300/450 ms | another one |",
    ]
