"""The trial of a cluster: what it judges, and a short one where Ray is installed."""

from typing import Any

import pytest

from scripts.bench.clients.returning import Visit
from scripts.cluster_trial import MOST_S, Doubles, Trial, busiest, run, table
from tests.server.cluster.with_ray import needs_ray


def test_the_longest_gap_is_told_with_the_one_that_lasts():
    visit = Visit(pictures=[1.0, 1.1, 4.0])
    assert visit.longest_gap(until=5.0) == pytest.approx(2.9)
    assert visit.longest_gap(until=9.0) == 5.0
    assert Visit().longest_gap(until=9.0) == float("inf")


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (Trial(gaps=[MOST_S + 1.0]), "no picture for"),
        (Trial(visits=[Visit(sessions=["one", "two"])]), "1 sessions were lost"),
        (Trial(served_twice=["one"]), "served by two workers"),
    ],
)
def test_each_fault_is_told(trial, words):
    (fault,) = trial.faults()
    assert words in fault


def test_a_client_that_was_well_served_is_no_fault():
    trial = Trial(visits=[Visit(pictures=[0.0], sessions=["one"], refusals={503: 2})], gaps=[0.1])
    assert trial.faults() == [] and "2 x 503" in table(trial)


def test_law_what_goes_wrong_goes_wrong_for_pages_first():
    """A page is one client of many, and notices later than others."""
    workers = [
        {"id": "a", "is_ready": True, "sessions": ["one", "two"]},
        {"id": "b", "is_ready": True, "sessions": ["of a page"]},
        {"id": "c", "is_ready": False, "sessions": ["x", "y", "z"]},
    ]
    assert busiest(workers, [Visit(sessions=["former", "of a page"])]) == "b"
    assert busiest(workers, []) == "a"


def test_law_a_session_that_moves_is_not_served_twice_and_one_that_both_report_again_is():
    def told(former: list[str], at: float, now: float) -> list[dict[str, Any]]:
        return [{"silent_s": now - at, "sessions": former}, {"silent_s": 0.1, "sessions": ["one"]}]

    doubles = Doubles()
    assert doubles.found(told(["one"], 9.5, 10.0), 10.0) == []
    assert doubles.found(told(["one"], 9.5, 10.9), 10.9) == []  # still the report of before it moved
    assert doubles.found(told(["one"], 10.5, 11.0), 11.0) == ["one"]
    assert doubles.found(told([], 11.5, 12.0), 12.0) == []
    assert doubles.found(told(["one"], 12.5, 13.0), 13.0) == []  # another time


def test_clients_and_pages_are_told_apart():
    visit = Visit(pictures=[0.0], sessions=["one"])
    rows = table(Trial(visits=[visit, visit], gaps=[0.1, 0.2], pages=1)).splitlines()
    assert [row.split()[0] for row in rows] == ["client", "0", "page"]


@needs_ray
async def test_law_whatever_part_of_a_cluster_is_killed_streams_go_on():
    """A worker, the gateway and placement by force, another worker by order; an engine that sleeps.

    Each fault comes once all have pictures after the one before. How long nobody may wait is for the script
    to judge, on a machine that does nothing else.
    """
    trial = await run(minutes=0.0, clients=3, workers=3, engine="sleeping")
    what = [line.split()[0] for _, line in trial.done]
    assert what == ["kill-worker", "drain", "scale", "kill-gateway", "kill-placement"]
    assert trial.lost == 0 and trial.served_twice == [], table(trial)
    last = trial.done[-1][0]
    assert all(visit.pictures and visit.pictures[-1] > last for visit in trial.visits), table(trial)
